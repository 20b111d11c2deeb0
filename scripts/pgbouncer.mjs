import { findProgram, installProgram } from './programs.mjs'

/** A PgBouncer of this machine, or undefined. */
export const findPgBouncer = () => findProgram(['pgbouncer'])

/**
 * Installs PgBouncer where none is found.
 * @param {(line: string) => void} say
 */
export const installPgBouncer = (say) =>
  installProgram({
    ...{ title: 'PgBouncer', find: findPgBouncer, tests: 'behind PgBouncer', service: 'pgbouncer', say },
    packages: { apt: 'pgbouncer', brew: 'pgbouncer', dnf: ['pgbouncer'], apk: 'pgbouncer' },
  })
