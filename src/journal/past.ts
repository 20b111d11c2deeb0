import type { Sql } from '../db/client.ts'
import { type Mark, marksAhead } from '../db/marks.ts'
import type { Engine } from '../engine/engine.ts'

/** What the Redis of every open shard remembers; one that does not answer remembers nothing. */
export async function recallOpen({ shards, fence, remembered }: Engine): Promise<Mark[]> {
  const open = Array.from({ length: shards }, (_, shard) => shard).filter(fence.isOpen)
  const told = await Promise.allSettled(open.map((shard) => remembered.marks(shard)))
  return told.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
}

/**
 * Which of these marks, and of those that somebody recalls, PostgreSQL has not come up to: then it has come back from the past. Rejects
 * as `recall` does.
 */
export async function findAhead(sql: Sql, own: Mark[], recall: () => Promise<Mark[]>): Promise<Mark[]> {
  // What is committed between the two questions is no matter: it is asked for first what is remembered.
  const look = async () => marksAhead(sql, [...(await recall()), ...own])
  const ahead = await look()
  // Writers that are gone for long are forgotten in Redis first, maybe between the two questions: then nobody recalls them any more.
  return ahead.length === 0 ? ahead : look()
}
