import { findProgram, installProgram } from './programs.mjs'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const APPLICATIONS = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** A Chromium of this machine, or undefined. */
export const findBrowser = () => findProgram(NAMES, APPLICATIONS)

/**
 * Installs Chromium where none is found, which takes a minute or two.
 * @param {(line: string) => void} say
 */
export const installBrowser = (say) =>
  installProgram({
    ...{ title: 'Chromium', find: findBrowser, tests: 'in a browser', say },
    packages: { apt: 'chromium', dnf: ['chromium'], apk: 'chromium' },
  })
