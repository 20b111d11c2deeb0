import { at, h, say } from './dom.js'
import { count } from './words.js'

/**
 * @typedef {{ label: string, name: string, color: string, unit: string }} Line
 * @typedef {{ title: string, lines: Line[] }} Chart
 * @typedef {{ at: string[] } & Record<string, Array<number | null>>} Series
 */

const HEIGHT_PX = 150
const SPAN_S = 600
const MARK_EVERY_S = 120
const FONT = '500 11px Inter, system-ui, sans-serif'

/** @type {Chart[]} */
const CHARTS = [
  {
    title: 'Holds a second',
    lines: [
      { label: 'granted', name: 'holds_granted', color: '--available', unit: '' },
      { label: 'refused', name: 'holds_refused', color: '--held', unit: '' },
    ],
  },
  {
    title: 'Orders a second',
    lines: [
      { label: 'created', name: 'orders_created', color: '--available', unit: '' },
      { label: 'expired', name: 'expired', color: '--pending', unit: '' },
    ],
  },
  {
    title: 'Answer to a hold',
    lines: [
      { label: 'p50', name: 'p50_ms', color: '--available', unit: ' ms' },
      { label: 'p99', name: 'p99_ms', color: '--held', unit: ' ms' },
    ],
  },
]

const css = (/** @type {string} */ name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim()

/** @param {number | null | undefined} value @param {string} unit */
const told = (value, unit) =>
  value == null ? '–' : `${value < 10 ? value.toFixed(1) : count(Math.round(value))}${unit}`

/** @param {any} UPlot @param {Chart} chart */
function createChart(UPlot, { title, lines }) {
  const values = lines.map(() => h('span'))
  const keys = lines.map(({ label, color }, nth) => {
    const key = h('span', { className: 'key' }, `${label} `, values[nth])
    key.style.setProperty('--part', `var(${color})`)
    return key
  })
  const plot = h('div', {
    className: 'plot',
    attrs: { role: 'img', 'aria-label': `${title}, the last ten minutes` },
  })
  const figure = h(
    'figure',
    {},
    h('figcaption', {}, h('b', {}, title), h('span', { className: 'keys' }, ...keys)),
    plot,
  )
  at('charts').append(figure)
  /** @type {any} */
  let drawn
  /** @type {any} */
  let data

  function draw() {
    drawn?.destroy()
    const axis = {
      stroke: css('--muted'),
      font: FONT,
      ticks: { show: false },
      grid: { stroke: css('--line'), width: 1 },
    }
    drawn = new UPlot(
      {
        width: plot.clientWidth || 300,
        height: HEIGHT_PX,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 18, 0, 0],
        scales: {
          y: {
            range: (/** @type {any} */ _plot, /** @type {number} */ _min, /** @type {number} */ max) => [
              0,
              Math.max(1, (max ?? 0) * 1.1),
            ],
          },
        },
        axes: [
          { ...axis, grid: { show: false }, size: 28, splits: everyOther, values: minutesAgo },
          { ...axis, size: 44, space: 24 },
        ],
        series: [
          {},
          ...lines.map(({ color }) => ({
            stroke: css(color),
            width: 2,
            points: { show: false },
            spanGaps: false,
          })),
        ],
      },
      data,
      plot,
    )
  }

  return {
    draw,
    resize: () => drawn?.setSize({ width: plot.clientWidth, height: HEIGHT_PX }),
    /** @param {Series} series */
    show(series) {
      const seconds = series.at.map((moment) => Date.parse(moment) / 1000)
      data = [seconds, ...lines.map(({ name }) => series[name] ?? [])]
      const latest = lines.map(({ name, unit }) => told(series[name]?.at(-1), unit))
      for (const [nth, text] of latest.entries()) say(values[nth], text)
      const words = lines.map(({ label }, nth) => `${label} ${latest[nth]}`).join(', ')
      plot.setAttribute('aria-label', `${title}, the last ten minutes; now ${words}`)
      const end_s = seconds.at(-1) ?? Date.now() / 1000
      if (!drawn) draw()
      drawn.batch(() => {
        drawn.setData(data, false)
        drawn.setScale('x', { min: end_s - SPAN_S, max: end_s })
      })
    },
  }
}

/** A mark every two minutes back from now. @param {any} plot */
function everyOther(plot) {
  const { min, max } = plot.scales.x
  const moments = []
  for (let moment = max; moment >= min; moment -= MARK_EVERY_S) moments.unshift(moment)
  return moments
}

/** @param {any} plot @param {number[]} moments */
function minutesAgo(plot, moments) {
  return moments.map((moment) => {
    const minutes = Math.round((plot.scales.x.max - moment) / 60)
    return minutes === 0 ? 'now' : `−${minutes} min`
  })
}

/** Draws the charts of the desk; the library comes only when somebody looks at them. */
export async function openCharts() {
  const { default: UPlot } = await import('/web/vendor/uplot/uPlot.esm.js')
  const charts = CHARTS.map((chart) => createChart(UPlot, chart))
  new ResizeObserver(() => {
    for (const chart of charts) chart.resize()
  }).observe(at('charts'))
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const chart of charts) chart.draw()
  })
  return {
    /** @param {Series} series */
    show(series) {
      for (const chart of charts) chart.show(series)
    },
  }
}
