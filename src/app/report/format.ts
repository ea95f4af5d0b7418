/** Numbers as people read them, the same in the terminal and in the report. Pure; always in English notation. */

/** Perplexity with two decimals; large ones in scientific notation; "–" where there is none. */
export function formatPerplexity(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  return value >= 10_000 ? value.toExponential(1) : value.toFixed(2);
}

/** A loss in nats per token with three decimals; "–" where there is none. */
export function formatLoss(value: number | null | undefined): string {
  return value === undefined || value === null || !Number.isFinite(value) ? "–" : value.toFixed(3);
}

/** A share in percent with one decimal, any other number with three digits that count; "–" where there is none. */
export function formatMeasure(value: number | null, unit: "share" | "number"): string {
  if (value === null || !Number.isFinite(value)) return "–";
  return unit === "share" ? `${(100 * value).toFixed(1)} %` : Math.abs(value) >= 10_000 ? value.toExponential(1) : value.toPrecision(3);
}

/** A benchmark's figure with its 95 % confidence interval: "23.1 % (20.4 % to 25.9 %)". */
export function formatFigure({ value, low, high, unit }: { readonly value: number | null; readonly low: number | null; readonly high: number | null; readonly unit: "share" | "number" }): string {
  return `${formatMeasure(value, unit)} (${formatMeasure(low, unit)} to ${formatMeasure(high, unit)})`;
}

/** From one value to another, the sign of percent once: "20.4 to 25.9 %". */
export function formatRange(low: number, high: number, unit: "share" | "number"): string {
  const first = formatMeasure(low, unit);
  return `${unit === "share" ? first.replace(" %", "") : first} to ${formatMeasure(high, unit)}`;
}

/** A mean over seeds with as many digits as its deviation: 23.1 and 0.4 for a share in percent, without the sign. */
export function formatMean(mean: number, deviation: number | null, unit: "share" | "number" | "nats"): { readonly mean: string; readonly deviation: string | undefined } {
  const scale = unit === "share" ? 100 : 1;
  const digits = unit === "share" ? 1 : unit === "nats" ? 3 : Math.abs(mean) >= 1 ? 2 : 3;
  const format = (value: number): string => (Math.abs(value) >= 10_000 ? value.toExponential(1) : value.toFixed(digits));
  return { mean: format(mean * scale), deviation: deviation === null ? undefined : format(deviation * scale) };
}

/** A whole number with commas: 12,345. */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A number of things by name: "1 round", "20 rounds". */
export function formatThings(value: number, singular: string, plural = `${singular}s`): string {
  return `${formatCount(value)} ${Math.round(value) === 1 ? singular : plural}`;
}

/** Bytes in decimal units: 950 B, 12.3 kB, 4.5 MB. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Seconds as 8 s, 2 min 05 s, 1 h 04 min. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
