import type { Steadiness } from "./messages";

/** Frames that the latencies are of. */
const LATENCIES = 100;
/** Seconds that the rate and the steadiness are of. */
const RATE_S = 2;
const STEADINESS_S = 1;

function quantile(values: number[], share: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
}

/** What the last frames were like. All times in ms. */
export class Figures {
  private frames: { at: number; latency: number; network: number; steadiness: Steadiness | null }[] = [];

  add(at: number, latency: number, network: number, steadiness: Steadiness | null): void {
    this.frames.push({ at, latency, network, steadiness });
    if (this.frames.length > LATENCIES) this.frames.shift();
  }

  clear(): void {
    this.frames = [];
  }

  now(at: number) {
    const recent = this.frames.filter((frame) => at - frame.at < RATE_S * 1000);
    const first = recent[0];
    const seconds = first ? (recent.at(-1)!.at - first.at) / 1000 : 0;
    return {
      fps: seconds > 0 ? (recent.length - 1) / seconds : null,
      latencyP90: quantile(this.frames.map((frame) => frame.latency), 0.9),
      networkMedian: quantile(this.frames.map((frame) => frame.network), 0.5),
      frames: this.frames.length,
      steadiness: this.steadiness(at),
    };
  }

  private steadiness(at: number): Steadiness | null {
    const found = this.frames.filter((f) => f.steadiness && at - f.at < STEADINESS_S * 1000).map((f) => f.steadiness!);
    if (!found.length) return null;
    const share = found.reduce((sum, one) => sum + one.still, 0);
    // Frames count by how much of them stands still.
    const mean = (key: "stylized" | "source") =>
      share > 0 ? found.reduce((sum, one) => sum + one[key] * one.still, 0) / share : 0;
    return { stylized: mean("stylized"), source: mean("source"), still: share / found.length };
  }
}
