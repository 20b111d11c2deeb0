/** Inline SVG that follows the colours of the page. */
export type Bar = {
  label: string
  /** Drawn one after the other; each has the class of its part. */
  parts: Array<{ value: number; part: string }>
  /** What stands at its end. */
  text: string
  /** From the least to the greatest of the rounds. */
  range?: { min: number; max: number }
}

const WIDTH = 860
const LABEL_WIDTH = 310
const TEXT_WIDTH = 110
const ROW_HEIGHT = 26
const BAR_HEIGHT = 14
const SPACE = WIDTH - LABEL_WIDTH - TEXT_WIDTH

export function escapeHtml(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replace(/[&<>"]/g, (sign) => names[sign] ?? sign)
}

const fixed = (value: number) => value.toFixed(1)

function drawBar({ label, parts, text, range }: Bar, at: number, scale: number): string {
  const top = at * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) / 2
  const middle = at * ROW_HEIGHT + ROW_HEIGHT / 2
  let x = LABEL_WIDTH
  const bars = parts.map(({ value, part }) => {
    const width = value * scale
    const bar = `<rect class="${part}" x="${fixed(x)}" y="${top}" width="${fixed(width)}" height="${BAR_HEIGHT}"/>`
    x += width
    return bar
  })
  const whisker = range
    ? `<path class="whisker" d="M${fixed(LABEL_WIDTH + range.min * scale)} ${middle}H${fixed(LABEL_WIDTH + range.max * scale)}"/>`
    : ''
  const end = Math.max(x, LABEL_WIDTH + (range?.max ?? 0) * scale) + 6
  return [
    `<text x="${LABEL_WIDTH - 8}" y="${middle}" class="label">${escapeHtml(label)}</text>`,
    ...bars,
    whisker,
    `<text x="${fixed(end)}" y="${middle}">${escapeHtml(text)}</text>`,
  ].join('')
}

/** Horizontal bars on one scale that begins at 0. */
export function barChart(title: string, bars: Bar[]): string {
  const lengths = bars.map(({ parts, range }) =>
    Math.max(
      parts.reduce((sum, { value }) => sum + value, 0),
      range?.max ?? 0,
    ),
  )
  const scale = SPACE / Math.max(...lengths, Number.MIN_VALUE)
  const height = bars.length * ROW_HEIGHT
  const drawn = bars.map((bar, at) => drawBar(bar, at, scale)).join('\n')
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">\n${drawn}\n</svg>`
}
