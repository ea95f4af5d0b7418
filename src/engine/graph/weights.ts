/** Where the frozen tensors of a graph lie on disk. */

/** The bytes of one weight; the file is named relative to the folder that the session is given. */
export interface WeightLocation {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** Frozen tensors of a graph: a folder, and where in its files each weight's bytes lie. */
export interface WeightFiles {
  readonly folder: string;
  /** Throws an internal error for a name that is not there. */
  locate(name: string): WeightLocation;
}
