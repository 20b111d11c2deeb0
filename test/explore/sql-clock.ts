import pg from 'pg'

/*
  PostgreSQL's clock, as what the processes ask it sees it: it stands still until it is told what time it is. It is a sequence, which no
  transaction holds back, in a schema of its own, so that it does not go back with the tables.
*/

const CLOCK = 'explorer.clock'

/** To be called before the tables are made, whose defaults ask for the time. */
export async function stopSqlClock(database_url: string): Promise<void> {
  const sql = new pg.Client({ connectionString: database_url })
  await sql.connect()
  await sql.query(`create schema explorer; create sequence ${CLOCK};
    create function public.now() returns timestamptz stable language sql as
      'select to_timestamp(last_value / 1000.0) from ${CLOCK}'`)
  // Its own now() comes after that of this schema.
  await sql.query(
    `alter database ${new URL(database_url).pathname.slice(1)} set search_path = public, pg_catalog`,
  )
  await sql.end()
}

export const tellSqlTime = (sql: pg.Client, at_ms: number) =>
  sql.query('select setval($1, $2)', [CLOCK, at_ms])
