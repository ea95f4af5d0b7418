/** A Vulkan driver for tests of WebGPU: the one that the environment names, or SwiftShader from Debian's chromium package. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where Debian's and Ubuntu's packages lay SwiftShader and a Vulkan loader. */
const FOLDERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/lib/x86_64-linux-gnu/chromium"] as const;

/** Environment of a process that is to run WebGPU; undefined where no driver is found. The loader reads it when the process starts. */
export function vulkanEnvironment(): NodeJS.ProcessEnv | undefined {
  const { env } = process;
  if ((env["VK_DRIVER_FILES"] ?? env["VK_ICD_FILENAMES"] ?? "") !== "") return env;
  const folder = FOLDERS.find((path) => existsSync(join(path, "vk_swiftshader_icd.json")));
  if (folder === undefined) return undefined;
  return { ...env, VK_ICD_FILENAMES: join(folder, "vk_swiftshader_icd.json"), LD_LIBRARY_PATH: [folder, env["LD_LIBRARY_PATH"] ?? []].flat().join(":") };
}

/** Why tests are skipped without one. */
export const NO_DRIVER = "no Vulkan driver: set VK_ICD_FILENAMES, or install Debian's package chromium, which has SwiftShader";
