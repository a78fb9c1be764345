/** The look, as `runtimes/look/painted.py` has it: strength, the source's colours, size of the strokes. */

import type { Look } from "./messages";

/** Width and height at which the network sees a frame. */
export function networkSize(width: number, height: number, stroke: number): [number, number] {
  return [Math.max(1, Math.floor(width / stroke + 0.5)), Math.max(1, Math.floor(height / stroke + 0.5))];
}

/** BT.709 luma of the coded values. */
function luma(rgb: Uint8Array, at: number): number {
  return Math.round(0.2126 * rgb[at]! + 0.7152 * rgb[at + 1]! + 0.0722 * rgb[at + 2]!);
}

/** The painting with this strength and in these colours, RGB; the painting itself where neither is asked for. */
export function looked(source: Uint8Array, painting: Uint8Array, { strength, keepColors }: Look): Uint8Array {
  if (strength === 1 && !keepColors) return painting;
  const result = new Uint8Array(source.length);
  for (let at = 0; at < source.length; at += 3) {
    const [r, g, b] = [source[at]!, source[at + 1]!, source[at + 2]!];
    // One difference for all three channels keeps the chroma; it goes as far as these have room.
    const wanted = keepColors ? luma(painting, at) - luma(source, at) : 0;
    const shift = Math.max(-Math.min(r, g, b), Math.min(255 - Math.max(r, g, b), wanted));
    for (let c = at; c < at + 3; c++) {
      const painted = keepColors ? source[c]! + shift : painting[c]!;
      result[c] = Math.round(strength * painted + (1 - strength) * source[c]!);
    }
  }
  return result;
}
