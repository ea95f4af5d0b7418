/** The config's schema as JSON Schema: for editors, for reference pages, and to find the field that a misspelt one was meant to be. */
import { z } from "zod";
import { experimentSchema } from "./schema.ts";

type Node = z.core.JSONSchema.BaseSchema;

/** JSON Schema (draft 2020-12) of a config file. */
export function experimentJsonSchema(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(experimentSchema, { io: "input" });
}

/** The names of the fields that a config may have at `path`; empty where it is no object. */
export function fieldNames(path: readonly PropertyKey[]): readonly string[] {
  let nodes: readonly Node[] = [experimentJsonSchema()];
  for (const key of path) nodes = nodes.flatMap(alternatives).flatMap((node) => childOf(node, key));
  return [...new Set(nodes.flatMap(alternatives).flatMap((node) => Object.keys(node.properties ?? {})))];
}

/** All fields of a config by dotted path, with their descriptions: for suggestions and reference. */
export function allFields(): readonly { readonly path: string; readonly description: string }[] {
  const walk = (node: Node, path: readonly string[]): { path: string; description: string }[] =>
    alternatives(node).flatMap((n) =>
      Object.entries(n.properties ?? {}).flatMap(([key, child]) => {
        if (typeof child === "boolean") return [];
        const here = [...path, key];
        return [{ path: here.join("."), description: child.description ?? "" }, ...walk(child, here)];
      }),
    );
  const found = walk(experimentJsonSchema(), []);
  return [...new Map(found.map((field) => [field.path, field])).values()];
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
