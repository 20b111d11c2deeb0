import t from 'tap'
import { lastWord } from '../../src/embedded/ready.ts'

t.test('the line of a log that says why a server ended', async (t) => {
  t.equal(
    lastWord(
      '2026-01-01 00:00:00.000 UTC [7] LOG:  starting\n2026-01-01 00:00:00.000 UTC [7] FATAL:  could not open file "x"\n2026-01-01 00:00:00.000 UTC [7] LOG:  database system is shut down\n',
    ),
    'FATAL:  could not open file "x"',
  )
  t.equal(
    lastWord('7:M 01 Jan 2026 00:00:00.000 # Failed listening on port 6379 (TCP), aborting.\n'),
    'Failed listening on port 6379 (TCP), aborting.',
  )
  t.equal(lastWord("*** FATAL CONFIG FILE ERROR ***\n>>> 'x y'\nBad directive\n"), 'Bad directive')
  t.equal(lastWord(''), 'it wrote no log')
})
