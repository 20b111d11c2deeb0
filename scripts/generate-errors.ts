/*
  npm run docs:generate

  Writes docs/errors.md from the one place that defines the codes.
*/
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { errorsPage } from './errors-page.ts'

await writeFile(fileURLToPath(new URL('../docs/errors.md', import.meta.url)), errorsPage())
