import t from 'tap'
import type { Operation } from '../../src/http/docs.ts'
import { build } from '../fixtures/app.ts'
import { createWays, type Documented } from '../fixtures/documented-codes.ts'

type Codes = { content?: { 'application/problem+json'?: { examples?: object } } }

const app = await build(t)
const { paths } = JSON.parse(JSON.stringify(app.app.swagger())) as {
  paths: Record<string, Record<string, Operation>>
}

/** Every code that the document promises. */
const documented: Documented[] = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).flatMap(([method, { responses }]) =>
    Object.values(responses as Record<string, Codes>)
      .flatMap(({ content }) => Object.keys(content?.['application/problem+json']?.examples ?? {}))
      .map((code) => [method.toUpperCase(), path, code] as const),
  ),
)

t.test('each code that a route documents can really be produced', async (t) => {
  const { wayTo, unused } = await createWays(t, documented)
  t.ok(documented.length > 100, `${documented.length} codes`)
  for (const [method, path, code] of documented) {
    const name = `${method} ${path} ${code}`
    const way = wayTo(method, path, code)
    if (!way) t.fail(`there is no way to produce ${name}: add one, or take the code out of the documentation`)
    else t.match(await way().catch(String), { body: { code } }, name)
  }
  t.same([...unused], [], 'and no code that the ways produce is missing in the documentation')
})
