/** Cursors are the sort key of the last row of a page, opaque to the outside. */
export function encodeCursor(key: Array<string | number>): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url')
}

/** What PostgreSQL takes for a sort key: counts and times in ms, and text without NUL and halves of surrogate pairs. */
function isSortKey(part: unknown, type: 'string' | 'number'): boolean {
  if (type === 'number') return Number.isSafeInteger(part) && (part as number) >= 0
  return typeof part === 'string' && !/[\0\p{Surrogate}]/u.test(part)
}

/** The sort key in a cursor, or undefined where it is not one of these types. */
export function decodeCursor<const Types extends ReadonlyArray<'string' | 'number'>>(
  cursor: string,
  types: Types,
): { [At in keyof Types]: Types[At] extends 'string' ? string : number } | undefined {
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    const fits =
      Array.isArray(key) && key.length === types.length && types.every((type, at) => isSortKey(key[at], type))
    return fits ? (key as unknown as ReturnType<typeof decodeCursor<Types>>) : undefined
  } catch {
    return undefined
  }
}
