import type { Sql } from './client.ts'

/**
 * How far the commits of one writer have come. PostgreSQL counts them in the transaction that makes them, and whoever made them
 * remembers the count, as does Redis: a PostgreSQL that counts fewer has come back from the past (a failover to a replica that
 * lacked the last commits, a restored backup).
 */
export type Mark = { readonly writer: string; commits: number }

/** @param writer the name of its process, and behind a space what it is in it */
export const createMark = (writer: string): Mark => ({ writer, commits: 0 })

/** Remembers a count that was committed, which may be heard later than a higher one. */
export function advance(mark: Mark, count: number): void {
  mark.commits = Math.max(mark.commits, count)
}

/** PostgreSQL lacks commits that it had. Its code makes the transaction end as after any error of the server. */
export class PastError extends Error {
  readonly code = 'HFPAS'
  constructor() {
    super('PostgreSQL has come back from the past: it lacks what it had committed')
  }
}

/**
 * Counts a commit in the transaction that is to be it, and returns the count: the mark may take it once it is committed. Throws PastError
 * where PostgreSQL counts fewer than the mark.
 */
export async function countCommit(sql: Sql, { writer, commits }: Mark): Promise<number> {
  const { rows } = await sql.query<{ commits: number }>({
    name: 'count-commit',
    text: `insert into writers as known (writer, commits) values ($1, 1)
      on conflict (writer) do update set commits = known.commits + 1, seen_at = now() returning commits`,
    values: [writer],
  })
  const count = rows[0]?.commits ?? 0
  if (count <= commits) throw new PastError()
  return count
}

/** Tells that a writer lives and which epochs it has open, by shard, 0 where one is closed. Counts as a commit. */
export async function noteUse(sql: Sql, mark: Mark, epochs: number[]): Promise<number> {
  const count = await countCommit(sql, mark)
  await sql.query({
    name: 'note-use',
    text: 'update writers set epochs = $2::bigint[] where writer = $1',
    values: [mark.writer, epochs],
  })
  return count
}

/** Which of these marks PostgreSQL has not come up to. */
export async function marksAhead(sql: Sql, marks: Mark[]): Promise<Mark[]> {
  const { rows } = await sql.query<{ writer: string; commits: number }>({
    name: 'marks-ahead',
    text: `select asked.writer, max(asked.commits) as commits from unnest($1::text[], $2::bigint[]) as asked (writer, commits)
      left join writers known using (writer) where coalesce(known.commits, 0) < asked.commits group by asked.writer`,
    values: [marks.map(({ writer }) => writer), marks.map(({ commits }) => commits)],
  })
  return rows
}

/**
 * Notes that PostgreSQL lacks what it had, and takes these marks for its own: from now on every shard is behind until what its Redis
 * knows has been written again, also one that PostgreSQL does not know any more.
 */
export async function noteBehind(sql: Sql, marks: Mark[], shards: number): Promise<void> {
  await sql.query(
    `insert into shards as known (shard, epoch, redis_identity, behind_since)
      select shard, 0, '', now() from generate_series(0, $1::int - 1) as shard
      on conflict (shard) do update set behind_since = coalesce(known.behind_since, now())`,
    [shards],
  )
  await sql.query({
    name: 'settle-marks',
    text: `insert into writers as known (writer, commits) select writer, max(commits) from unnest($1::text[], $2::bigint[]) as asked (writer, commits) group by writer
      on conflict (writer) do update set commits = greatest(known.commits, excluded.commits)`,
    values: [marks.map(({ writer }) => writer), marks.map(({ commits }) => commits)],
  })
}

/** Whether any shard still has to tell what PostgreSQL lacks. */
export async function isBehind(sql: Sql): Promise<boolean> {
  const { rows } = await sql.query({
    name: 'is-behind',
    text: 'select 1 from shards where behind_since is not null limit 1',
  })
  return rows.length > 0
}

/** Whether another living writer has a shard open in this epoch or a later one. */
export async function isUsed(sql: Sql, shard: number, epoch: number, writer: string): Promise<boolean> {
  const { rows } = await sql.query({
    name: 'is-used',
    text: `select 1 from writers
      where writer <> $3 and seen_at > now() - make_interval(secs => $4) and epochs[$1 + 1] >= $2 limit 1`,
    values: [shard, epoch, writer, ALIVE_SECONDS],
  })
  return rows.length > 0
}

/** A writer says once a second that it lives; a server that stands still for a moment makes none dead. */
const ALIVE_SECONDS = 4
/** Whoever has been silent for so long is gone, and others have counted since: what is older than their counts shows by them. */
const FORGET_DAYS = 1

/** The writers of processes that have been gone for long. One that lives may have written nothing for as long. */
export async function goneWriters(sql: Sql): Promise<string[]> {
  const { rows } = await sql.query<{ writer: string }>(
    `select writer from writers where split_part(writer, ' ', 1) in (
       select split_part(writer, ' ', 1) from writers group by 1 having max(seen_at) < now() - make_interval(days => $1))`,
    [FORGET_DAYS],
  )
  return rows.map(({ writer }) => writer)
}

export async function forgetWriters(sql: Sql, writers: string[]): Promise<void> {
  await sql.query('delete from writers where writer = any($1::text[])', [writers])
}
