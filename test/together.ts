import t from 'tap'

type RunTest = typeof t.test

/** Runs files of tests in this process as each runs in its own: one after the other, and what one opened is closed before the next. */
export async function runTogether(files: string[]): Promise<void> {
  const { test } = t
  for (const file of files) {
    const tests: unknown[] = []
    const ends: Array<() => unknown> = []
    t.test = new Proxy(test, {
      apply(target, _, args: Parameters<RunTest>) {
        const running = Reflect.apply(target, t, args)
        tests.push(running)
        return running
      },
    })
    t.teardown = (end) => void ends.unshift(end)
    t.jobs = 1
    t.comment(file)
    await import(file)
    for (const running of tests) await running
    for (const end of ends) await end()
  }
}
