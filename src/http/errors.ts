import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { UnavailableError } from '../errors.ts'
import { BodyError } from './json.ts'
import { type ProblemCode, problem, sendProblem } from './problem.ts'

type AjvError = { instancePath: string; message?: string; params?: Record<string, unknown> }

/** `errors` of a validation problem: where in the request, and what is wrong there. */
export function validationErrors(errors: AjvError[]): Array<{ path: string; message: string }> {
  return errors.map(({ instancePath, message, params }) => {
    const property = params?.additionalProperty ?? params?.missingProperty
    const path = typeof property === 'string' ? `${instancePath}/${property}` : instancePath
    return {
      path,
      message: params?.additionalProperty ? 'is not a known field' : (message ?? 'is not valid'),
    }
  })
}

/** Refuses a request that its schema could not: 400 `validation_failed` naming one place. */
export function sendInvalid(reply: FastifyReply, path: string, message: string): FastifyReply {
  return sendProblem(reply, 'validation_failed', `${path.slice(1) || 'The body'} ${message}.`, {
    errors: [{ path, message }],
  })
}

/** Fastify's own errors by their code; others of status 4xx are malformed requests. */
const CODES: Record<string, ProblemCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
}

function handleError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof UnavailableError) {
    request.log.warn({ reason: error.message }, error.code)
    return sendProblem(reply, error.code)
  }
  if (error.validation) {
    const errors = validationErrors(error.validation)
    const [first] = errors
    return sendProblem(
      reply,
      'validation_failed',
      `${first?.path.slice(1) || error.validationContext || 'The request'} ${first?.message ?? 'is not valid'}.`,
      { errors },
    )
  }
  if (error instanceof BodyError) return sendInvalid(reply, '', error.message)
  if (error.statusCode === 429) return sendProblem(reply, 'rate_limited')
  const code = CODES[error.code]
  if (code) return sendProblem(reply, code)
  if (error.statusCode !== undefined && error.statusCode < 500) {
    return sendInvalid(
      reply,
      '',
      error.code === 'FST_ERR_BAD_URL' ? 'comes with a malformed URL' : 'is not JSON',
    )
  }
  request.log.error(error)
  return sendProblem(reply, 'internal_error')
}

const SOCKET_CODES: Record<string, ProblemCode> = {
  HPE_HEADER_OVERFLOW: 'header_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}

/** Answers what is not even HTTP: the socket gets a problem and is closed. */
export function handleClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const code = SOCKET_CODES[error.code ?? '']
  const document = code
    ? problem(code)
    : problem('validation_failed', 'This is not a well-formed HTTP request.', {
        errors: [{ path: '', message: 'is not a well-formed HTTP request' }],
      })
  const body = JSON.stringify(document)
  const head = [
    `HTTP/1.1 ${document.status} ${document.title}`,
    'Content-Type: application/problem+json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${randomUUID()}`,
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** Turns everything that goes wrong into a problem: no stack, no internal message leaves the service. */
export function addErrorHandlers(app: FastifyInstance): void {
  app.setErrorHandler(handleError)
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, 'route_not_found'))
}
