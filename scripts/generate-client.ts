/*
  npm run client:generate

  Writes src/client/api.ts from the OpenAPI document of the service. No server is needed: the routes are built, none is called.
*/
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { readConfig } from '../src/config.ts'
import { openDb } from '../src/db/client.ts'
import { createMark } from '../src/db/marks.ts'
import { createEngine } from '../src/engine/engine.ts'
import { oneNode } from '../src/engine/nodes.ts'
import { connectRedis } from '../src/engine/redis.ts'
import { buildApp } from '../src/http/app.ts'
import { createWriter } from '../src/journal/writer.ts'
import { createLookup } from '../src/recovery/load.ts'
import { createRebuilder } from '../src/recovery/rebuilder.ts'
import { createRecovery } from '../src/recovery/recovery.ts'
import { createPublisher } from '../src/recovery/terms.ts'
import { clientTypes } from './client-types.ts'

const TARGET = fileURLToPath(new URL('../src/client/api.ts', import.meta.url))
/** Nobody connects to these. */
const REDIS_URL = 'redis://127.0.0.1:1'
const DATABASE_URL = 'postgres://127.0.0.1:1/none'

const redis = connectRedis(REDIS_URL)
const db = openDb(DATABASE_URL)
const engine = createEngine({ nodes: oneNode(redis), shards: 1, hold_ttl_ms: 1, order_ttl_ms: 1 })
const writer = createWriter({ db, engine, on_alarm: () => {} })
const config = readConfig({ LOG_LEVEL: 'silent' })
const lookup = createLookup({ db, engine })
const say = () => {}
const rebuilder = createRebuilder({ engine, writer, say })
const marks = { writer: createMark('writer'), watch: createMark('watch'), admin: createMark('admin') }
const recovery = createRecovery({ engine, db, rebuilder, marks, say })
const publisher = createPublisher({ db, engine })
const app = await buildApp({ config, engine, db, writer, lookup, recovery, publisher })
await app.ready()
await writeFile(TARGET, await clientTypes(app.swagger()))
await app.close()
redis.disconnect()
await db.close()
