/** A run of a few seconds, killed at 20 random instants and resumed, each as real processes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAndResume, runUndisturbed, type KillSetup, type Undisturbed } from "../tools/kill-resume/kill-runs.ts";

const KILLS = 20;
const assets = fileURLToPath(new URL("../assets/", import.meta.url));

/** The demo, cut to a few seconds: three characters, still several rounds, a baseline, samples and an export. */
const SHORT = [
  join(assets, "demo.yaml"),
  `data.path=${join(assets, "shakespeare", "{romeo,leontes,menenius}.jsonl")}`,
  "data.max_examples_per_client=20",
  "partition.split={train: 0.9, validation: 0.05, test: 0.05}",
  "name=short",
  "federation.rounds=3",
  "training.local_steps=2",
  "training.batch_size=2",
  "training.moments=carry",
  "adapter.lora_dropout=0.1",
  "compare=[local, federated]",
  "samples.max_new_tokens=8",
];

describe("a run killed with SIGKILL and resumed", () => {
  const setup: KillSetup = { experiment: SHORT, folder: mkdtempSync(join(tmpdir(), "fedtune-kill-")), kills: KILLS, seed: 7 };
  let undisturbed: Undisturbed;
  const met: string[] = [];

  beforeAll(async () => {
    undisturbed = await runUndisturbed(setup);
  }, 120_000);
  afterAll(() => rmSync(setup.folder, { recursive: true, force: true }));

  it.each(Array.from({ length: KILLS }, (_, index) => index))("ends with the bytes of an undisturbed run (kill %i of 20)", { timeout: 120_000 }, async (index) => {
    const result = await killAndResume(setup, undisturbed, index);
    met.push(result.met);
    // The first run may have had to share the processor: later kills go by what a run takes now.
    undisturbed = { ...undisturbed, seconds: result.endedAfterSeconds ?? undisturbed.seconds };
    expect(result.output).toBe("");
    expect(result.same).toBe(true);
  });

  it("was met by the kills while it was under way", () => {
    expect(met.filter((what) => what === "run").length).toBeGreaterThanOrEqual(KILLS / 2);
  });
});
