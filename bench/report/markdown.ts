import { results } from '../goals.ts'
import type { Report } from './report.ts'
import {
  ARM_HEADS,
  armCells,
  armRows,
  booksLines,
  controlLines,
  EQUATION_HEADS,
  equationRows,
  GOAL_HEADS,
  goalCells,
  OTHER_HEADS,
  otherRows,
} from './words.ts'

/** A table that can be read as text too. */
export function table(heads: string[], rows: string[][]): string {
  const lines = [heads, ...rows]
  const widths = heads.map((_, at) => Math.max(3, ...lines.map((line) => [...(line[at] ?? '')].length)))
  const pad = (text: string, at: number) => text + ' '.repeat((widths[at] ?? 0) - [...text].length)
  const row = (cells: string[]) => `| ${cells.map(pad).join(' | ')} |`
  return [row(heads), row(widths.map((width) => '-'.repeat(width))), ...rows.map(row)].join('\n')
}

/** The whole report as Markdown. */
export function markdown(report: Report): string {
  const { options, samples, machine, minutes } = report
  const quick = options.is_quick
    ? ['A quick run: it shows that the tool works, not how fast anything is.']
    : []
  const others = otherRows(report)
  const parts = [
    '# Holdfast bench',
    [
      ...machine,
      `${options.rounds} rounds, ${options.seconds} s an arm, ${options.connections.join(' and ')} connections, ${minutes.toFixed(1)} minutes`,
      ...controlLines(report),
      ...quick,
    ]
      .map((line) => `- ${line}`)
      .join('\n'),
    '## Goals',
    table(GOAL_HEADS, results(samples, options.connections).map(goalCells)),
    '## Arms',
    table(ARM_HEADS, armRows(samples).map(armCells)),
    ...(others.length === 0 ? [] : ['## Other figures', table(OTHER_HEADS, others)]),
    '## Conservation',
    booksLines(report).join('\n'),
    table(EQUATION_HEADS, equationRows(report)),
  ]
  return `${parts.join('\n\n')}\n`
}
