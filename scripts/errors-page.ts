import { problemTable } from '../src/http/problem.ts'

/** The text of docs/errors.md. */
export const errorsPage = () => `# Errors

Every refusal is a problem (RFC 9457, \`application/problem+json\`) with \`type\`, \`title\`, \`status\`, \`detail\` and a stable \`code\`. Programs
should look at \`code\`; \`detail\` is for people and may change. Every reply has an \`X-Request-Id\`: name it when you ask about one.
A 503 and a 429 have \`Retry-After\`, in seconds; so has \`insufficient_stock\` where units may come back. A refusal changes nothing. How to act on
them in a shop: [shop-developers.md](shop-developers.md).

This page is written by \`npm run docs:generate\` from \`src/http/problem.ts\`. Which codes a route may answer with stands in \`/docs\`.

${problemTable()}
`
