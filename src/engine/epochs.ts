import type { Redis } from 'ioredis'

/**
 * An epoch as Redis keeps it: with the installation to which the shard belongs, so that each step of a stranger is fenced. One that
 * was written by version 0.1, or by a test, names none.
 */
export const epochText = (epoch: number, installation: string): string =>
  installation === '' ? `${epoch}` : `${epoch}@${installation}`

/** What stands under the epoch of a shard. Something that is no text is nobody's, like nothing. */
export async function readEpoch(redis: Redis, key: string): Promise<string | null> {
  try {
    return await redis.get(key)
  } catch (error) {
    if (!(error as Error).message.startsWith('WRONGTYPE')) throw error
    return null
  }
}

/** Reads what stands under the epoch of a shard: epoch 0 where there is none. */
export function parseEpoch(text: string | null): { epoch: number; installation: string } {
  const [epoch, installation = ''] = (text ?? '').split('@')
  return { epoch: Number(epoch) || 0, installation }
}
