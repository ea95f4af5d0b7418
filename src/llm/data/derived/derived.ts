/** Fields that rules make where the data has none, by name. What a rule is, is its own file's. */
import { language } from "./language.ts";
import type { FieldRule } from "./rule.ts";
import { speaker } from "./speaker.ts";

export const DERIVED_NAMES = ["language", "speaker"] as const;
export type DerivedName = (typeof DERIVED_NAMES)[number];

export const DERIVED: Readonly<Record<DerivedName, FieldRule>> = { language, speaker };
