/** The toolchains, by the identifier of their language in the benchmarks. */
import { cpp } from "./cpp.ts";
import { go } from "./go.ts";
import { java } from "./java.ts";
import { js } from "./js.ts";
import { python } from "./python.ts";
import { rust } from "./rust.ts";
import type { Toolchain } from "./toolchain.ts";

export const TOOLCHAINS = { python, js, java, go, cpp, rust } as const satisfies Readonly<Record<string, Toolchain>>;

/** A language whose programs can be run. */
export type LanguageName = keyof typeof TOOLCHAINS;

export const LANGUAGE_NAMES = Object.keys(TOOLCHAINS) as readonly LanguageName[];
