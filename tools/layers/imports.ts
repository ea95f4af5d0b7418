/** The import edges of one TypeScript file: static, type-only, dynamic, and files named by `new URL(…, import.meta.url)`. */
import { parseSync, Visitor } from "oxc-parser";

export interface Import {
  /** As written: "./x.ts", "zod". */
  readonly specifier: string;
  readonly line: number;
}

export interface ParsedFile {
  readonly imports: readonly Import[];
  /** Whether the file holds nothing but re-exports. */
  readonly onlyReExports: boolean;
  readonly syntaxErrors: readonly string[];
}

/** Parses a file's text. A worker's name whose ending is computed (`./x${ending}`) counts as `./x.ts`. */
export function parseImports(fileName: string, text: string): ParsedFile {
  const { program, errors } = parseSync(fileName, text);
  const imports: Import[] = [];
  const add = (specifier: string, offset: number): void => {
    imports.push({ specifier, line: text.slice(0, offset).split("\n").length });
  };
  new Visitor({
    ImportDeclaration: (node) => add(node.source.value, node.start),
    ExportAllDeclaration: (node) => add(node.source.value, node.start),
    ExportNamedDeclaration: (node) => {
      if (node.source) add(node.source.value, node.start);
    },
    ImportExpression: (node) => {
      if (node.source.type === "Literal" && typeof node.source.value === "string") add(node.source.value, node.start);
    },
    TSImportType: (node) => add(node.source.value, node.start),
    NewExpression: (node) => {
      const [path, base] = node.arguments;
      if (node.callee.type !== "Identifier" || node.callee.name !== "URL" || path === undefined || base === undefined) return;
      if (path.type === "Literal" && typeof path.value === "string") add(path.value, node.start);
      const start = path.type === "TemplateLiteral" ? path.quasis[0]?.value.cooked : undefined;
      if (start) add(`${start.replace(/\.$/, "")}.ts`, node.start);
    },
  }).visit(program);
  const onlyReExports = program.body.every((node) => node.type === "ExportAllDeclaration" || (node.type === "ExportNamedDeclaration" && node.source !== null));
  return { imports, onlyReExports, syntaxErrors: errors.map((e) => e.message) };
}
