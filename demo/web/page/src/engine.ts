/** Opens a model with ONNX Runtime Web: WebGPU where there is one, else WebAssembly. */

import type { InferenceSession, Tensor } from "onnxruntime-web";
import gpuModule from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import gpuWasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import cpuModule from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import cpuWasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { Engine } from "./messages";

type Ort = typeof import("onnxruntime-web");

/** An error whose message is for the person before the page. */
export class Sentence extends Error {}

/** A model that is ready: RGB in, RGB out. */
export interface Network {
  engine: string;
  /** Why it is not on the GPU, where that was wanted; else "". */
  note: string;
  run(frame: Uint8Array, width: number, height: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

// The smallest module with a SIMD instruction (i8x16.splat, i8x16.popcnt).
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

let opened: { kind: "webgpu" | "wasm"; ort: Ort } | undefined;

async function openOrt(kind: "webgpu" | "wasm"): Promise<Ort> {
  if (opened?.kind === kind) return opened.ort;
  const ort: Ort =
    kind === "webgpu"
      ? ((await import("onnxruntime-web/webgpu")) as unknown as Ort)
      : ((await import("onnxruntime-web/wasm")) as unknown as Ort);
  const here = (path: string) => new URL(path, import.meta.url).href;
  ort.env.wasm.wasmPaths =
    kind === "webgpu"
      ? { mjs: here(gpuModule), wasm: here(gpuWasm) }
      : { mjs: here(cpuModule), wasm: here(cpuWasm) };
  // Threads need a page that is isolated from other origins; the server's headers make it so.
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  opened = { kind, ort };
  return ort;
}

async function hasGpu(): Promise<boolean> {
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<unknown> } }).gpu;
  if (!gpu) return false;
  try {
    return Boolean(await gpu.requestAdapter());
  } catch {
    return false;
  }
}

function wrap(ort: Ort, session: InferenceSession, engine: string, note: string): Network {
  const [input, output] = [session.inputNames[0]!, session.outputNames[0]!];
  return {
    engine,
    note,
    async run(frame, width, height) {
      const tensor: Tensor = new ort.Tensor("uint8", frame, [height, width, 3]);
      const stylized = (await session.run({ [input]: tensor }))[output]!;
      const [h, w] = stylized.dims;
      if (h !== height || w !== width) throw new Error(`gave ${w}x${h} for a frame of ${width}x${height}`);
      return (await stylized.getData()) as Uint8Array;
    },
    close: () => session.release(),
  };
}

/**
 * Open a model.
 *
 * A session on the GPU is tried with a frame before it is used: a driver may lack what the network needs.
 *
 * @param data of the .onnx file.
 * @param size width and height of the frame to try with.
 * @throws Sentence where this browser cannot run any.
 */
export async function openNetwork(data: ArrayBuffer, size: [number, number], wanted: Engine): Promise<Network> {
  const simd = WebAssembly.validate(new Uint8Array(SIMD));
  if (!simd) {
    throw new Sentence(
      "This browser has no WebAssembly SIMD, which the network needs: use a newer one (Chrome, Edge, Firefox, or Safari from 16.4).",
    );
  }
  let note = "";
  if (wanted !== "wasm") {
    if (await hasGpu()) {
      try {
        const ort = await openOrt("webgpu");
        const session = await ort.InferenceSession.create(data, {
          executionProviders: ["webgpu"],
          logSeverityLevel: 3, // that shapes are computed on the processor is no warning to a person
        });
        const network = wrap(ort, session, "WebGPU", "");
        await network.run(new Uint8Array(size[0] * size[1] * 3), size[0], size[1]);
        return network;
      } catch (error) {
        note = `WebGPU could not run this style (${firstLine(error)}), so the processor does.`;
      }
    } else if (wanted === "webgpu") {
      note = "This browser has no WebGPU, so the processor does the work.";
    }
  }
  const ort = await openOrt("wasm");
  const session = await ort.InferenceSession.create(data, { executionProviders: ["wasm"] });
  const threads = ort.env.wasm.numThreads ?? 1;
  return wrap(ort, session, `WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}`, note);
}

export function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split("\n", 1)[0]!.replace(/\.$/, "");
}
