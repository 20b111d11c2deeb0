import { readFileSync } from 'node:fs'
import t from 'tap'
import { clientTypes } from '../../scripts/client-types.ts'
import { build } from '../fixtures/app.ts'

const FILE = readFileSync(new URL('../../src/client/api.ts', import.meta.url), 'utf8')

t.test('the types of the client are those of the OpenAPI document', async (t) => {
  const app = await build(t)
  const wanted = await clientTypes(app.app.swagger())
  t.ok(wanted === FILE, 'src/client/api.ts is up to date, else: npm run client:generate')
  t.match(wanted, /"\/api\/holds"/)
})

t.test('control: a document that differs has other types', async (t) => {
  const app = await build(t)
  const document = app.app.swagger() as { paths: Record<string, unknown> }
  const { '/api/holds': _left_out, ...paths } = document.paths
  t.not(await clientTypes({ ...document, paths }), FILE)
})
