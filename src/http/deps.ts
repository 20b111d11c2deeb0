import type { Config } from '../config.ts'
import type { Db } from '../db/client.ts'
import type { Engine } from '../engine/engine.ts'
import type { Writer } from '../journal/writer.ts'
import type { Meters } from '../metrics/meters.ts'
import type { Lookup } from '../recovery/load.ts'
import type { Recovery } from '../recovery/recovery.ts'
import type { Publisher } from '../recovery/terms.ts'

/** What the routes work with. */
export type Deps = {
  config: Config
  engine: Engine
  writer: Writer
  lookup: Lookup
  publisher: Publisher
  recovery: Recovery
  db: Db
  meters?: Meters
}
