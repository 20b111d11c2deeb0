import openapiTypescript, { astToString, type OpenAPI3 } from 'openapi-typescript'

type Operation = { description?: string; responses?: Record<string, { content?: Record<string, unknown> }> }
type Document = { paths?: Record<string, Record<string, Operation>>; components?: object }

const HEAD = '// Written by npm run client:generate from the OpenAPI document; changes made here are lost.\n'
const PROBLEM = 'application/problem+json'

/** Says once what a problem looks like, and refers to it from every refusal: the types are the same and much shorter. */
function nameProblems(document: Document): Document {
  const copy = structuredClone(document)
  let problem: unknown
  for (const methods of Object.values(copy.paths ?? {})) {
    for (const operation of Object.values(methods)) {
      const { responses = {}, description } = operation
      // Lines for a shell are no help in an editor.
      if (description) operation.description = description.replace(/\n*```sh\n.*?```/s, '')
      for (const [status, reply] of Object.entries(responses)) {
        if (!reply.content?.[PROBLEM]) continue
        problem = { description: 'A problem', content: reply.content }
        responses[status] = { $ref: '#/components/responses/Problem' } as object
      }
    }
  }
  return { ...copy, components: { ...copy.components, responses: { Problem: problem } } }
}

/** The types of src/client/api.ts, from the OpenAPI document. */
export async function clientTypes(document: object): Promise<string> {
  // The document as it goes out, without functions and undefined values; and without examples, which are for readers of /docs.
  const isExample = (key: string) => key === 'example' || key === 'examples'
  const sent = JSON.parse(JSON.stringify(document), (key, value) =>
    isExample(key) ? undefined : value,
  ) as Document
  const nodes = await openapiTypescript(nameProblems(sent) as unknown as OpenAPI3)
  return `${HEAD}${astToString(nodes)}`
}
