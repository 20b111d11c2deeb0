import { readConfig } from '../config.ts'
import { runCommand, say } from './lifecycle.ts'
import { openMigrated } from './open.ts'

runCommand({ is_service: false }, async (life) => {
  await openMigrated(readConfig(process.env), life)
  say('the database has the newest schema')
  return 0
})
