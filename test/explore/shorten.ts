import type { Tape } from './chance.ts'
import type { Story } from './explore.ts'

/** A tape without the draws at its end that stand there anyway. */
const trimmed = (tape: Tape): Tape => tape.slice(0, tape.findLastIndex((draw) => draw !== 0) + 1)

/**
 * Looks for a shorter story that ends as badly: first without the end of its tape, then with parts of it at their least, ever smaller
 * ones. What is at its least is the plainest there is: whoever waits for longest goes on, and nothing fails.
 */
export async function shorten(
  story: Story,
  tell: (tape: Tape) => Promise<Story>,
  isLate: () => boolean,
): Promise<Story> {
  let best = story
  let tape = trimmed(story.tape)
  async function isAsBad(other: Tape): Promise<boolean> {
    if (isLate()) return false
    const again = await tell(other)
    if (again.found.length === 0) return false
    best = again
    tape = trimmed(other)
    return true
  }
  for (let low = 0, high = tape.length; low < high; ) {
    const middle = Math.floor((low + high) / 2)
    if (await isAsBad(tape.slice(0, middle))) high = Math.min(middle, tape.length)
    else low = middle + 1
  }
  for (let size = Math.ceil(tape.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < tape.length && !isLate(); at += size) {
      const is_least = tape.slice(at, at + size).every((draw) => draw === 0)
      if (!is_least) await isAsBad(tape.map((draw, index) => (index >= at && index < at + size ? 0 : draw)))
    }
  }
  return best
}
