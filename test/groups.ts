import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, matchesGlob } from 'node:path'
import { pathToFileURL } from 'node:url'

/*
  To load the service costs a process more than most files of tests need for themselves. So files of one folder are run by one process,
  one after the other, but for those that need one of their own.
*/

const MAX_FILES = 12
/** Folders whose files start processes, or a browser, and are many seconds long as it is. */
const ALONE = ['test/{bench,browser,cluster,e2e,embedded,explore,faults}/**']
/** A file that says something about all the tests of its process. */
const OF_THE_PROCESS = /^t\.(setTimeout|bail)\b/m

async function isAlone(root: string, file: string): Promise<boolean> {
  if (ALONE.some((pattern) => matchesGlob(file, pattern))) return true
  return OF_THE_PROCESS.test(await readFile(join(root, file), 'utf8'))
}

/** The files of a folder in as few parts as may be, each of about the same length. */
function share(files: string[]): string[][] {
  const count = Math.ceil(files.length / MAX_FILES)
  return Array.from({ length: count }, (_, at) => files.filter((_, place) => place % count === at))
}

/** What tap is to run instead of all tests but those left out: files, and in `folder` such as import several of them. */
export async function groupTests(root: string, left_out: string[], folder: string): Promise<string[]> {
  const names = (await readdir(join(root, 'test'), { recursive: true })).map((name) => join('test', name))
  const files = names
    .filter((name) => name.endsWith('.test.ts') && !left_out.some((pattern) => matchesGlob(name, pattern)))
    .sort()
  const alone: string[] = []
  const folders = new Map<string, string[]>()
  for (const file of files) {
    if (await isAlone(root, file)) alone.push(file)
    else folders.set(dirname(file), [...(folders.get(dirname(file)) ?? []), file])
  }
  await mkdir(folder)
  const groups: string[] = []
  for (const [of, members] of folders) {
    for (const [at, part] of share(members).entries()) {
      const path = join(folder, `${of.replaceAll('/', '-')}-${at + 1}.test.mjs`)
      const urls = part.map((file) => pathToFileURL(join(root, file)))
      const together = pathToFileURL(join(root, 'test/together.ts'))
      await writeFile(
        path,
        `import { runTogether } from '${together}'\nawait runTogether(${JSON.stringify(urls)})\n`,
      )
      groups.push(path)
    }
  }
  return [...alone, ...groups]
}
