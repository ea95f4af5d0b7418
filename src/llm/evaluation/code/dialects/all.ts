/** The dialects, one for each toolchain. */
import type { LanguageName } from "../toolchains/all.ts";
import { cpp } from "./cpp.ts";
import type { Dialect } from "./dialect.ts";
import { go } from "./go.ts";
import { java } from "./java.ts";
import { js } from "./js.ts";
import { python } from "./python.ts";
import { rust } from "./rust.ts";

export const DIALECTS = { python, js, java, go, cpp, rust } as const satisfies Readonly<Record<LanguageName, Dialect>>;
