import { connect, createServer } from 'node:net'

/** One setup at a time on this machine: whoever listens on the first port of these that is free, or is ours, has the turn. */
const TURN_PORTS = [19_347, 19_353, 19_361, 19_377]
const TURN_GREETING = 'holdfast-setup\n'
/** A port may be given up between our attempt to listen and our question who does. */
const TURN_TRIES = 20
/** A program that listens on one of these ports and is not a setup says something else, or nothing, within this. */
const GREETING_WAIT_MS = 500

/**
 * Does the work unless it is done, one process at a time: another one that is at it is awaited, then looked at again.
 * @param {() => boolean | Promise<boolean>} isDone @param {() => Promise<void>} work
 */
export async function inTurn(isDone, work) {
  while (!(await isDone())) {
    const release = await takeTurn()
    if (!release) continue
    try {
      if (!(await isDone())) await work()
      return
    } finally {
      release()
    }
  }
}

/**
 * Takes the turn, or waits until the process that has it is done with it and answers undefined. The system takes the
 * port from a dead process, so no stale lock can be left behind.
 * @returns {Promise<(() => void) | undefined>}
 */
async function takeTurn() {
  for (const port of TURN_PORTS) {
    for (let tries = 0; tries < TURN_TRIES; tries++) {
      const release = await listen(port)
      if (release) return release
      const holder = await awaitHolder(port)
      if (holder === 'setup') return undefined
      if (holder === 'other') break
    }
  }
  throw new Error(`the ports ${TURN_PORTS.join(', ')} are all taken by other programs: free one of them`)
}

/** Listens on the port if it is free; the answer stops listening. @param {number} port */
async function listen(port) {
  const sockets = new Set()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.write(TURN_GREETING)
  })
  const isMine = await new Promise((done) => {
    server.once('error', () => done(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => done(true))
  })
  if (!isMine) return undefined
  return () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
}

/**
 * Who listens there: a setup (answered when that one is done), another program, or nobody any more.
 * @param {number} port @returns {Promise<'setup' | 'other' | 'nobody'>}
 */
function awaitHolder(port) {
  return new Promise((done) => {
    let heard = ''
    let isConnected = false
    const socket = connect({ port, host: '127.0.0.1' })
    const isSetup = () => heard === TURN_GREETING
    const timer = setTimeout(() => isSetup() || socket.destroy(), GREETING_WAIT_MS)
    socket.on('connect', () => {
      isConnected = true
    })
    socket.on('data', (chunk) => {
      heard = (heard + chunk).slice(0, TURN_GREETING.length)
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearTimeout(timer)
      done(isSetup() ? 'setup' : isConnected ? 'other' : 'nobody')
    })
  })
}
