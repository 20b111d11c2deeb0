import type { Certificate } from './certificate.ts'
import type { Checked } from './histories/check.ts'

const WIDTH = 32

/** A certificate to which those of the runs are added. */
export function createTotal(): Certificate {
  const counts = { units: 0, held: 0, sold: 0, refused: 0, acknowledged: 0, oversold: 0 }
  return { ...counts, lost: [], refused_orders: [], broken: [] }
}

/** Adds the certificate of a run, whose number stands before each line of what it found. */
export function addRun(total: Certificate, run: number, certificate: Certificate): void {
  for (const name of ['units', 'held', 'sold', 'refused', 'acknowledged', 'oversold'] as const)
    total[name] += certificate[name]
  for (const name of ['lost', 'refused_orders', 'broken'] as const)
    total[name].push(...certificate[name].map((line) => `run ${run}: ${line}`))
}

/** How long the service took to be ready again after each kind of fault, a line each. */
function timesToReady(ready_ms_by_fault: Map<string, number[]>): Array<[what: string, figures: string]> {
  return [...ready_ms_by_fault].sort().map(([fault, times]) => {
    const sorted = times.sort((one, other) => one - other)
    const median = sorted[Math.floor(sorted.length / 2)]
    return [`ready after ${fault}`, `median ${median} ms, at most ${sorted.at(-1)} ms, ${times.length} times`]
  })
}

/** Whether the histories of the runs are explained, and what is not. */
function tellHistories({ operations, products, orders, unexplained, undecided }: Checked): string[] {
  const of = `${operations} operations of ${products} products and ${orders} orders`
  const verdicts = [
    unexplained.length > 0 && `${unexplained.length} histories NOT EXPLAINED`,
    undecided.length > 0 && `${undecided.length} not decided`,
  ].filter(Boolean)
  return [
    `  history: ${of}, ${verdicts.length === 0 ? 'explained' : verdicts.join(', ')}`,
    ...undecided.map((name) => `  not decided: ${name}: the search was given up`),
    ...unexplained.flatMap(([head, ...lines]) => [
      `  broken: ${head}`,
      ...lines.map((line) => `    ${line}`),
    ]),
  ]
}

/** The certificate of all runs as text. */
export function formatReport(
  total: Certificate,
  histories: Checked,
  ready_ms_by_fault: Map<string, number[]>,
  { runs, seed }: { runs: number; seed: number },
): string {
  const rows = [
    ['runs', runs],
    ['units offered', total.units],
    ['units held', total.held],
    ['units sold', total.sold],
    ['holds refused', total.refused],
    ['operations acknowledged', total.acknowledged],
    ['acknowledged and lost', total.lost.length],
    ['units oversold', total.oversold],
    ['orders refused that were right', total.refused_orders.length],
    ['other promises broken', total.broken.length],
    ['seed', seed],
  ] as const
  const lines = [
    ...rows.map(([what, count]) => `  ${what.padEnd(WIDTH)}${String(count).padStart(10)}`),
    ...timesToReady(ready_ms_by_fault).map(([what, figures]) => `  ${what.padEnd(WIDTH)}  ${figures}`),
    ...tellHistories(histories),
    ...[...total.lost, ...total.refused_orders, ...total.broken].map((line) => `  broken: ${line}`),
  ]
  return `\nCertificate\n${lines.join('\n')}\n`
}
