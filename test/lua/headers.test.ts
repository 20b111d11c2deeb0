import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { type ScriptName, SIGNATURES } from '../../src/engine/commands.ts'
import { loadScript, scriptNames } from '../../src/engine/scripts.ts'

const LUA_DIR = new URL('../../lua/', import.meta.url)
const MAX_SCRIPT_LINES = 100
const MAX_INCLUDE_LINES = 150
const INCLUDE = /^-- @include (.*)$/gm
const TYPES = ['string', 'hash', 'zset', 'stream']

const read = (path: string) => readFileSync(new URL(path, LUA_DIR), 'utf8')
const includes = readdirSync(new URL('include/', LUA_DIR)).map((file) => file.slice(0, -'.lua'.length))
const words = (text: string | undefined) => (text ?? '').split('|').map((word) => word.trim())

/** Where the requests of a batch are answered, in the order in which it happens. */
const REQUEST_CODE: Partial<Record<ScriptName, string>> = {
  'place-holds': read('include/place.lua') + read('include/refusals.lua'),
  'create-orders': read('include/create.lua'),
  'expire-orders': read('expire-orders.lua'),
}

/** What the comment at the top of a script says. */
function parseHeader(source: string) {
  const end = source.indexOf('\n]]\n')
  const [first = '', opening = '', title = '', ...lines] = source.slice(0, end).split('\n')
  const numbered = (what: 'KEYS' | 'ARGV') =>
    lines.flatMap((line) => {
      const [, number, name, rest] = new RegExp(`^ {2}${what}\\[(\\d+)\\] +(\\S+) *(.*)$`).exec(line) ?? []
      return name === undefined ? [] : [{ number: Number(number), name, rest: rest ?? '' }]
    })
  const line = (start: string) => lines.find((it) => it.startsWith(`  ${start}`))?.slice(start.length + 2)
  return {
    first,
    opening,
    title,
    keys: numbered('KEYS'),
    args: numbered('ARGV'),
    returns: line('Returns '),
    statuses: words(line('Status, first match wins: ')),
    request_statuses: words(line('Of a request: ')),
    code: source.slice(end),
  }
}

/** Words that a text returns as the first part of a reply, in the order in which they stand there first. */
const returned = (code: string) => [
  ...new Set([...code.matchAll(/(?:return|and|or|=) \{ '([a-z_]+)'/g)].map(([, word]) => word ?? '')),
]

t.test('every script has a signature and every signature a script', async (t) => {
  t.same(scriptNames().sort(), Object.keys(SIGNATURES).sort())
})

for (const name of Object.keys(SIGNATURES) as ScriptName[]) {
  t.test(`the header of ${name} says what the script takes and answers`, async (t) => {
    const { source, lua } = loadScript(name)
    const header = parseHeader(source)
    const signature: { keys: readonly string[]; args: readonly string[]; statuses: readonly string[] } =
      SIGNATURES[name]

    t.match(header.first, /^#!lua( flags=(allow-oom|no-writes))?$/, 'Redis checks its keys and its memory')
    t.equal(header.opening, '--[[')
    t.ok(header.title.startsWith(`  ${name}: `), 'it begins with its name')
    t.same(
      header.keys.map(({ name }) => name),
      signature.keys,
      'KEYS',
    )
    t.same(
      header.args.map(({ name }) => name),
      signature.args,
      'ARGV',
    )
    for (const list of [header.keys, header.args]) {
      t.same(
        list.map(({ number }) => number),
        list.map((_, at) => at + 1),
        'numbered without a gap',
      )
    }
    for (const { name, rest } of header.keys) {
      t.ok(TYPES.includes(rest.split(' ')[0] ?? ''), `KEYS ${name} has a type`)
    }
    t.same(header.statuses, signature.statuses, 'Status')
    t.ok(header.returns, 'it says what it returns')
    t.ok(source.split('\n').length <= MAX_SCRIPT_LINES + 1, `at most ${MAX_SCRIPT_LINES} lines`)
    t.match(header.code, /^local keys = \{/m, 'its keys have names')

    const request_code = REQUEST_CODE[name]
    t.equal(
      header.request_statuses.join() !== '',
      request_code !== undefined,
      'a batch says what a request is answered',
    )
    const all = request_code ? [...header.statuses, ...header.request_statuses] : header.statuses
    const code = `${header.code}\n${request_code ?? ''}`
    for (const status of all) {
      t.ok(lua.slice(lua.indexOf('\n]]\n')).includes(`'${status}'`), `${status} is in the code`)
    }
    for (const status of returned(code)) t.ok(all.includes(status), `${status} is in the header`)
    for (const [order, text] of [
      [header.statuses, header.code],
      [header.request_statuses, request_code ?? ''],
    ] as const) {
      const found = returned(text)
      // The last word is the success; what is answered like it may come earlier in the code.
      const ours = found.filter((status) => order.slice(0, -1).includes(status))
      t.same(
        ours,
        order.filter((status) => ours.includes(status)),
        'statuses stand in the order in which the code comes to them',
      )
    }
  })
}

t.test(
  'a script that only reads may not write, and one that gives back or finishes runs with full memory',
  async (t) => {
    const flags = (name: ScriptName) => loadScript(name).source.split('\n')[0]
    for (const name of ['read-hold', 'read-order', 'read-products'] as const) {
      t.equal(flags(name), '#!lua flags=no-writes', name)
    }
    const refused_when_full: ScriptName[] = ['place-holds', 'load-bought', 'adjust-stock']
    for (const name of refused_when_full) t.equal(flags(name), '#!lua', name)
    const others = (Object.keys(SIGNATURES) as ScriptName[]).filter(
      (name) => !name.startsWith('read-') && !refused_when_full.includes(name),
    )
    for (const name of others) t.equal(flags(name), '#!lua flags=allow-oom', name)
  },
)

t.test('every include exists, is used, and stands in a script once', async (t) => {
  const used = new Set<string>()
  for (const path of [
    ...scriptNames().map((name) => `${name}.lua`),
    ...includes.map((name) => `include/${name}.lua`),
  ]) {
    for (const [, include = ''] of read(path).matchAll(INCLUDE)) {
      t.ok(includes.includes(include), `${path} includes ${include}`)
      used.add(include)
    }
  }
  t.same([...used].sort(), [...includes].sort())
  for (const name of scriptNames()) {
    const { lua } = loadScript(name)
    t.notMatch(lua, INCLUDE, `${name} has nothing left to include`)
    const functions = [...lua.matchAll(/^local function (\w+)/gm)].map(([, it]) => it)
    t.equal(new Set(functions).size, functions.length, `${name} defines nothing twice`)
  }
  for (const include of includes) {
    t.ok(read(`include/${include}.lua`).split('\n').length <= MAX_INCLUDE_LINES + 1, include)
  }
})

t.test('units are moved in one file alone', async (t) => {
  const writers = includes.filter((include) =>
    /(HSET|HINCRBY)', products_key/.test(read(`include/${include}.lua`)),
  )
  t.same(writers, ['stock'])
  for (const name of scriptNames().filter((it) => it !== 'load-product')) {
    t.notMatch(read(`${name}.lua`), /HSET', keys\.products|HINCRBY/, name)
  }
})
