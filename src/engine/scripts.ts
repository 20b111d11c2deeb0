import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'

const LUA_DIR = new URL('../../lua/', import.meta.url)
const INCLUDE = /^-- @include ([a-z-]+)$/gm

export type Reply = string | number | null | Reply[]
export type Script = { name: string; source: string; lua: string; sha: string }

/** The names of all scripts: one a file in lua/. */
export function scriptNames(): string[] {
  return readdirSync(LUA_DIR)
    .filter((file) => file.endsWith('.lua'))
    .map((file) => file.slice(0, -'.lua'.length))
}

const loaded = new Map<string, Script>()

/** Reads lua/<name>.lua and puts each `-- @include` in its place, once. Throws where an include is missing. */
export function loadScript(name: string): Script {
  const script = loaded.get(name) ?? readScript(name)
  loaded.set(name, script)
  return script
}

function readScript(name: string): Script {
  const source = readFileSync(new URL(`${name}.lua`, LUA_DIR), 'utf8')
  const included = new Set<string>()
  const expand = (text: string): string =>
    text.replace(INCLUDE, (_line, include: string) => {
      if (included.has(include)) return ''
      included.add(include)
      return expand(readFileSync(new URL(`include/${include}.lua`, LUA_DIR), 'utf8'))
    })
  const lua = expand(source)
  return { name, source, lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** Runs a script by its hash. Where Redis has forgotten it (NOSCRIPT: nothing ran), sends it whole. */
export async function runScript(
  redis: Redis,
  script: Script,
  keys: string[],
  args: Array<string | number>,
): Promise<Reply[]> {
  try {
    return (await redis.evalsha(script.sha, keys.length, ...keys, ...args)) as Reply[]
  } catch (error) {
    if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
    return (await redis.eval(script.lua, keys.length, ...keys, ...args)) as Reply[]
  }
}
