/** The config's schema as JSON Schema: for editors, for reference pages, and to find the field that a misspelt one was meant to be. */
import { z } from "zod";
import { experimentFileSchema } from "./schema.ts";

type Node = z.core.JSONSchema.BaseSchema;

/** JSON Schema (draft 2020-12) of a config file. */
export function experimentJsonSchema(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(experimentFileSchema, { io: "input" });
}

/** The names of the fields that a config may have at `path`; empty where it is no object. */
export function fieldNames(path: readonly PropertyKey[]): readonly string[] {
  let nodes: readonly Node[] = [experimentJsonSchema()];
  for (const key of path) nodes = nodes.flatMap(alternatives).flatMap((node) => childOf(node, key));
  return [...new Set(nodes.flatMap(alternatives).flatMap((node) => Object.keys(node.properties ?? {})))];
}

/** One field of a config, for people. */
export interface ConfigField {
  /** Dotted path. */
  readonly path: string;
  readonly description: string;
  /** Where the group has several forms (a method, a name): those that have this field; empty where all have it. */
  readonly of: readonly string[];
  /** What it may be: kinds and words, joined by "or"; empty for a group of fields. */
  readonly values: string;
  /** Undefined where the field has none. */
  readonly default: unknown;
}

/** All fields of a config by dotted path: for suggestions and reference. */
export function allFields(): readonly ConfigField[] {
  const forms = new Map<string, Set<string>>();
  const walk = (node: Node, path: readonly string[]): ConfigField[] =>
    alternatives(node).flatMap((n) => {
      const form = formOf(n);
      if (form !== undefined) forms.set(path.join("."), (forms.get(path.join(".")) ?? new Set()).add(form));
      return Object.entries(n.properties ?? {}).flatMap(([key, child]) => {
        if (typeof child === "boolean") return [];
        const here = [...path, key];
        return [{ path: here.join("."), description: child.description ?? "", of: form === undefined ? [] : [form], values: valuesOf(child), default: child.default }, ...walk(child, here)];
      });
    });
  const fields = new Map<string, ConfigField>();
  for (const field of walk(experimentJsonSchema(), [])) {
    const known = fields.get(field.path);
    // A field of several alternatives (a partition's method) takes the words of all of them.
    fields.set(field.path, known === undefined ? field : { ...known, of: [...new Set([...known.of, ...field.of])], values: [...new Set([...known.values.split(" or "), ...field.values.split(" or ")])].join(" or ") });
  }
  return [...fields.values()].map((field) => (field.of.length === (forms.get(field.path.split(".").slice(0, -1).join("."))?.size ?? 0) ? { ...field, of: [] } : field));
}

/** The word that sets one form of a group apart from the others: the value of a field that can have no other. */
function formOf(node: Node): string | undefined {
  const words = Object.values(node.properties ?? {}).flatMap((child) => (typeof child === "boolean" || typeof child.const !== "string" ? [] : [child.const]));
  return words.length === 1 ? words[0] : undefined;
}

function valuesOf(node: Node): string {
  const words = alternatives(node).flatMap((n) => {
    if (n.const !== undefined) return [JSON.stringify(n.const)];
    if (n.enum !== undefined) return n.enum.map((value) => JSON.stringify(value));
    return n.properties !== undefined || n.type === undefined ? [] : [n.type === "array" ? "list" : String(n.type)];
  });
  return [...new Set(words)].join(" or ");
}

/** A schema and what it may be instead. */
function alternatives(node: Node): readonly Node[] {
  const others = [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])];
  return [node, ...others.flatMap((other) => (typeof other === "boolean" ? [] : alternatives(other)))];
}

function childOf(node: Node, key: PropertyKey): readonly Node[] {
  const child = typeof key === "number" ? node.items : node.properties?.[String(key)];
  return child === undefined || typeof child === "boolean" || Array.isArray(child) ? [] : [child];
}
