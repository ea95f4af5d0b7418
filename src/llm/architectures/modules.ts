/** The modules of a model by their Hugging Face paths: which tensors they hold, which are joined in the prepared base. */
import type { BaseTensor, LinearModule } from "./sites.ts";

export interface LinearSizes {
  readonly path: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export interface LinearGroupOptions {
  /** Name of the prepared weight (less `.weight`) where several modules that share their input become one product. */
  readonly joined?: string;
  readonly bias?: boolean;
  /** `in_out` where the checkpoint holds the weight transposed, `[in, out]`. Default: `out_in`. */
  readonly layout?: LinearModule["layout"];
}

/** Collects the modules of a model, in the order of its file. */
export class ModuleList {
  readonly tensors: BaseTensor[] = [];
  readonly linears: LinearModule[] = [];
  /** Weights that share another's tensor, by name: a tied output embedding. */
  readonly tied = new Map<string, string>();

  /** One linear module, or several that share their input. */
  linear(modules: LinearSizes | readonly LinearSizes[], { joined, bias = false, layout = "out_in" }: LinearGroupOptions = {}): void {
    const group = "path" in modules ? [modules] : modules;
    const name = joined ?? group[0]?.path ?? "";
    const rows = group.reduce((sum, m) => sum + m.outFeatures, 0);
    const columns = group[0]?.inFeatures ?? 0;
    this.tensors.push({ name: `${name}.weight`, shape: layout === "out_in" ? [rows, columns] : [columns, rows], parts: group.map((m) => ({ name: `${m.path}.weight`, rows: layout === "out_in" ? m.outFeatures : m.inFeatures })) });
    if (bias) this.tensors.push({ name: `${name}.bias`, shape: [rows], parts: group.map((m) => ({ name: `${m.path}.bias`, rows: m.outFeatures })) });
    for (const m of group) this.linears.push({ ...m, weight: `${m.path}.weight`, ...(bias ? { bias: `${m.path}.bias` } : {}), layout, isHead: false });
  }

  /** A norm's weight `[width]`, and its bias where it has one. */
  norm(path: string, width: number, options: { readonly bias?: boolean } = {}): void {
    for (const name of options.bias === true ? [`${path}.weight`, `${path}.bias`] : [`${path}.weight`]) this.tensors.push({ name, shape: [width], parts: [{ name, rows: width }] });
  }

  /** An embedding table `[rows, width]`. */
  table(path: string, rows: number, width: number): void {
    const name = `${path}.weight`;
    this.tensors.push({ name, shape: [rows, width], parts: [{ name, rows }] });
  }

  /** The output embedding `[V, D]`: its own weight, or that of the table it is tied to. */
  head(sizes: LinearSizes, options: { readonly tiedTo: string | undefined }): void {
    const weight = `${sizes.path}.weight`;
    if (options.tiedTo === undefined) this.table(sizes.path, sizes.outFeatures, sizes.inFeatures);
    else this.tied.set(weight, `${options.tiedTo}.weight`);
    this.linears.push({ ...sizes, weight, layout: "out_in", isHead: true });
  }
}
