import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: './src/db/schema.ts',
  out: './drizzle',
  // As in src/db/migrate.ts.
  migrations: { schema: 'holdfast_migrations', table: 'applied' },
})
