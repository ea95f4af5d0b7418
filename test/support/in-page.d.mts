export interface Inspection {
  readonly background: string;
  readonly scrollWidth: number;
  /** Tables wider than their place, by their heading. */
  readonly tooWide: readonly string[];
  readonly drawings: number;
  /** Descriptions of figures of which not exactly one drawing is seen. */
  readonly figuresWithoutDrawing: readonly string[];
  /** Labels that reach out of their drawing, pairs of labels on each other, and texts with a contrast below 4.5. */
  readonly cut: readonly string[];
  readonly overlapping: readonly string[];
  readonly faint: readonly string[];
}

export declare function inspectPage(): Inspection;

export interface Pixels {
  /** Brightness of the commonest colour, 0 to 255. */
  readonly background: number;
  /** Share of the pixels that are far from it. */
  readonly ink: number;
  /** Colours, in steps of 32, that take a thousandth of the pixels at least. */
  readonly colors: number;
}

/** @param png base64 */
export declare function inspectPixels(png: string): Promise<Pixels>;
