/** Tensors that a device keeps from step to step, by name: a new one under a name frees the old. */
import { must } from "../../core/base/errors.ts";
import type { Resident } from "../../engine/runtime/resident.ts";

export class HeldTensors implements Disposable {
  readonly #held = new Map<string, Resident>();

  /** Throws an internal error where there is none. */
  get(name: string): Resident {
    return must(this.#held.get(name), `held tensor ${name}`);
  }

  set(name: string, value: Resident): void {
    const old = this.#held.get(name);
    if (old !== value) old?.[Symbol.dispose]();
    this.#held.set(name, value);
  }

  /** All of them, to be fed. */
  feeds(names: readonly string[]): Readonly<Record<string, Resident>> {
    return Object.fromEntries(names.map((name) => [name, this.get(name)]));
  }

  [Symbol.dispose](): void {
    for (const value of this.#held.values()) value[Symbol.dispose]();
    this.#held.clear();
  }
}
