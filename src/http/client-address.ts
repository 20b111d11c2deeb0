import { isIP } from 'node:net'
import { compile } from '@fastify/proxy-addr'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'

/** What proxies write: an address, alone or with the port of the connection; of IPv6 it may stand in brackets or name a zone. */
const FORMS = /^(?:\[(?<v6>[^\]]*)\](?::\d+)?|(?<v4>[\d.]+):\d+)$/

function addressIn(text = ''): string | undefined {
  const { v6, v4 } = FORMS.exec(text)?.groups ?? {}
  const [address = ''] = (v6 ?? v4 ?? text).split('%')
  return isIP(address) === 0 ? undefined : address
}

/** Whether the sender of a request is a proxy whose word counts, for Fastify's `trustProxy`. A number says how many stand in front. */
export function trustProxy(
  trust: Config['TRUST_PROXY'],
): boolean | ((address: string, hop: number) => boolean) {
  if (typeof trust === 'boolean') return trust
  if (typeof trust === 'number') return (_address, hop) => hop < trust
  const isTrusted = compile(trust.split(',').map((one) => one.trim()))
  return (address, hop) => isTrusted(addressIn(address) ?? address, hop)
}

/**
 * Under which address a client counts: the same for every spelling and port, and for all of a network of IPv6 (/64), of which one
 * household has each. What is no address counts as the proxy that said it.
 */
export const clientAddress = ({ ip, socket }: FastifyRequest): string =>
  normalizeIP(addressIn(ip) ?? socket.remoteAddress ?? '')
