import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ShardReport } from '../../src/recovery/verify.ts'
import type { Sample } from '../figures.ts'
import type { Options } from '../options.ts'
import { html } from './html.ts'
import { markdown } from './markdown.ts'

export type Report = {
  options: Options
  samples: Sample[]
  /** The last state of the stock. */
  shard: ShardReport
  /** How often Redis was compared with PostgreSQL during the run, and what differed. */
  books: { checks: number; failures: string[] }
  machine: string[]
  minutes: number
}

export function printReport(report: Report): void {
  process.stdout.write(`\n${markdown(report)}`)
}

/** Writes the table and the page. Answers their paths. */
export async function writeReports(report: Report): Promise<string[]> {
  const { out } = report.options
  await mkdir(out, { recursive: true })
  const files: Array<[string, string]> = [
    [join(out, 'report.md'), markdown(report)],
    [join(out, 'report.html'), html(report)],
  ]
  for (const [path, text] of files) await writeFile(path, text)
  return files.map(([path]) => path)
}
