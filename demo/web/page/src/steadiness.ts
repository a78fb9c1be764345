import type { Steadiness } from "./messages";

/** A pixel counts as still where none of its colours changed by more, of 255: a camera's noise, not motion. */
const STILL = 6;

/**
 * How much more than the source the stylized picture changed where nothing moves.
 *
 * There is no optical flow here, so moving pixels are left out, and what is measured is flicker on what stands still.
 * All four pictures are RGB of one size.
 */
export function steadiness(
  before: Uint8Array,
  after: Uint8Array,
  stylizedBefore: Uint8Array,
  stylizedAfter: Uint8Array,
): Steadiness {
  let still = 0;
  let source = 0;
  let stylized = 0;
  for (let i = 0; i < after.length; i += 3) {
    const r = Math.abs(after[i]! - before[i]!);
    const g = Math.abs(after[i + 1]! - before[i + 1]!);
    const b = Math.abs(after[i + 2]! - before[i + 2]!);
    if (r > STILL || g > STILL || b > STILL) continue;
    still += 1;
    source += r + g + b;
    stylized +=
      Math.abs(stylizedAfter[i]! - stylizedBefore[i]!) +
      Math.abs(stylizedAfter[i + 1]! - stylizedBefore[i + 1]!) +
      Math.abs(stylizedAfter[i + 2]! - stylizedBefore[i + 2]!);
  }
  const values = Math.max(1, 3 * still);
  return { stylized: stylized / values, source: source / values, still: still / (after.length / 3) };
}
