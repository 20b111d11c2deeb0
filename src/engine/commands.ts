/**
 * What every script answers, status first. The header of lua/<name>.lua says what each part means; a test compares
 * the headers with SIGNATURES.
 */
export type Replies = {
  'place-holds': ['fenced' | 'journal_full'] | ['done', ...PlaceReply[]]
  'release-hold':
    | ['fenced' | 'already_used' | 'not_found' | 'expired']
    | ['already_released' | 'released', entry_id: string, payments: string]
  'extend-hold':
    | ['fenced' | 'already_used' | 'released' | 'not_found' | 'expired' | 'extension_limit']
    | ['extended', member: string, expires_at_ms: number]
  'read-hold':
    | ['fenced' | 'not_found' | 'expired']
    | ['released', customer: string]
    | ['already_used', order: string]
    | ['live', member: string, expires_at_ms: number]
  'read-holds':
    | ['fenced']
    | ['done', last_score: string, last_id: string, ...Array<[member: string, score: string]>]
  'create-orders': ['fenced'] | ['done', ...CreateReply[]]
  'cancel-order':
    | ['fenced' | 'unknown_order' | 'not_pending']
    | ['cancelled', entry_id: string, order: string]
  'read-order': ['fenced' | 'unknown_order'] | ['found', order: string]
  'apply-payment':
    | ['fenced' | 'key_reused' | 'unknown_order' | 'backlog']
    | ['duplicate', first_outcome: string, entry_id: string, order: string]
    | ['parked', entry_id: string, order: '', payments: string]
    | [
        'applied' | 'ignored' | 'refund_due',
        entry_id: string,
        order: string,
        payments: string,
        reason: string,
      ]
  'expire-holds': ['fenced'] | ['done', count: number, late_ms: number, unreadable: string[]]
  'expire-orders': ['fenced'] | ['done', ...ExpireReply[]]
  'settle-parked':
    | ['fenced' | 'not_due' | 'postponed' | 'backlog']
    | ['settled', entry_id: string, order: string, payments: string]
    | ['given_up', entry_id: string, payments: string]
  'adjust-stock':
    | ['fenced' | 'key_reused' | 'not_found' | 'too_much' | 'backlog']
    | ['replayed', entry_id: string]
    | ['stock_in_use', available: number]
    | ['adjusted', entry_id: string, adjustment: string]
  'bury-entry': ['fenced' | 'unknown_entry' | 'buried']
  'drop-entries': ['fenced' | 'dropped']
  'load-product': ['fenced' | 'unknown' | 'outdated' | 'recount' | 'updated' | 'loaded']
  'raise-epoch': ['fenced' | 'raised']
  'clear-shard': ['fenced'] | ['cleared', now_ms: number]
  forget: ['fenced' | 'forgotten']
  'drop-holds': ['fenced' | 'dropped']
  'load-holds': ['fenced' | 'loaded']
  'load-buyers': ['fenced' | 'loaded']
  'load-bought': ['fenced' | 'loaded']
  'load-order': ['fenced' | 'known' | 'loaded']
  'load-parked': ['fenced' | 'loaded']
  'load-results': ['fenced' | 'loaded']
  'read-due': ['fenced'] | ['done', ...string[]]
  'read-products': ['fenced'] | ['done', now_ms: number, ...Array<Array<string | null>>]
  'read-stock': ['fenced'] | ['done', now_ms: number, ...Array<Array<string | null>>]
}

export type PlaceReply =
  | ['key_reused' | 'backlog']
  | ['unknown_buyer', product: string]
  | ['replayed' | 'placed', member: string, expires_at_ms: number]
  | [
      (
        | 'not_found'
        | 'sale_paused'
        | 'sale_not_started'
        | 'sale_ended'
        | 'currency_mismatch'
        | 'customer_required'
      ),
      product: string,
    ]
  | ['limit_exceeded', product: string, limit: number]
  | [
      'insufficient_stock',
      product: string,
      reason: 'sold_out' | 'all_held' | 'too_many',
      available: number,
      retry_after_ms: number,
    ]

export type CreateReply =
  | ['again' | 'key_reused' | 'already_used' | 'released' | 'not_found' | 'expired']
  | ['earlier', order: string]
  | ['replayed' | 'created', entry_id: string, order: string, payments: string]

export type ExpireReply = ['lost' | 'left'] | ['expired', entry_id: string, order: string]

export type ScriptName = keyof Replies

/** Keys and arguments in their order; `…...` stands last and for any number. */
export const SIGNATURES = {
  'place-holds': {
    keys: [
      'epoch',
      'products',
      'holds',
      'extended',
      'prepaid',
      'deadlines',
      'buyers',
      'journal',
      'bought',
      'idem...',
    ],
    args: ['epoch', 'shard', 'default_ttl_ms', 'idem_ttl_ms', 'max_entries', 'max_age_ms', 'requests...'],
    statuses: ['fenced', 'journal_full', 'done'],
  },
  'release-hold': {
    keys: [
      'epoch',
      'products',
      'holds',
      'extended',
      'prepaid',
      'buyers',
      'journal',
      'parked',
      'order',
      'released',
      'parked_payments',
    ],
    args: ['epoch', 'id'],
    statuses: ['fenced', 'already_used', 'already_released', 'not_found', 'expired', 'released'],
  },
  'extend-hold': {
    keys: ['epoch', 'holds', 'extended', 'prepaid', 'order', 'released'],
    args: ['epoch', 'id'],
    statuses: ['fenced', 'already_used', 'released', 'not_found', 'expired', 'extension_limit', 'extended'],
  },
  'read-hold': {
    keys: ['epoch', 'holds', 'extended', 'prepaid', 'order', 'released'],
    args: ['epoch', 'id'],
    statuses: ['fenced', 'already_used', 'released', 'not_found', 'expired', 'live'],
  },
  'read-holds': {
    keys: ['epoch', 'holds', 'prepaid'],
    args: ['epoch', 'product', 'after_score', 'after_id', 'limit', 'max_looked'],
    statuses: ['fenced', 'done'],
  },
  'create-orders': {
    keys: [
      'epoch',
      'products',
      'holds',
      'extended',
      'prepaid',
      'deadlines',
      'buyers',
      'journal',
      'parked',
      'order...',
      'released...',
      'parked_payments...',
      'idem...',
    ],
    args: ['epoch', 'pay_ttl_ms', 'idem_ttl_ms', 'requests...'],
    statuses: ['fenced', 'done'],
  },
  'cancel-order': {
    keys: ['epoch', 'products', 'deadlines', 'buyers', 'journal', 'order'],
    args: ['epoch', 'id'],
    statuses: ['fenced', 'unknown_order', 'not_pending', 'cancelled'],
  },
  'read-order': {
    keys: ['epoch', 'order'],
    args: ['epoch', 'id'],
    statuses: ['fenced', 'unknown_order', 'found'],
  },
  'apply-payment': {
    keys: [
      'epoch',
      'products',
      'holds',
      'extended',
      'prepaid',
      'deadlines',
      'buyers',
      'journal',
      'parked',
      'order',
      'released',
      'parked_payments',
      'payment',
    ],
    args: [
      'epoch',
      'id',
      'may_park',
      'park_ttl_ms',
      'key_ttl_ms',
      'key',
      'payment_status',
      'amount',
      'currency',
      'method',
      'transaction',
      'is_once',
    ],
    statuses: [
      'fenced',
      'key_reused',
      'duplicate',
      'unknown_order',
      'backlog',
      'parked',
      'applied',
      'ignored',
      'refund_due',
    ],
  },
  'expire-holds': {
    keys: ['epoch', 'products', 'holds', 'extended', 'buyers'],
    args: ['epoch', 'limit'],
    statuses: ['fenced', 'done'],
  },
  'expire-orders': {
    keys: ['epoch', 'products', 'deadlines', 'buyers', 'journal', 'order...'],
    args: ['epoch', 'members...'],
    statuses: ['fenced', 'done'],
  },
  'settle-parked': {
    keys: [
      ...[
        'epoch',
        'products',
        'holds',
        'extended',
        'prepaid',
        'deadlines',
        'buyers',
        'journal',
        'parked',
        'order',
      ],
      'parked_payments',
    ],
    args: ['epoch', 'id', 'park_ttl_ms'],
    statuses: ['fenced', 'not_due', 'postponed', 'backlog', 'settled', 'given_up'],
  },
  'adjust-stock': {
    keys: ['epoch', 'products', 'holds', 'extended', 'buyers', 'journal', 'idem'],
    args: ['epoch', 'product', 'delta', 'key', 'reason', 'idem_ttl_ms', 'max_amount'],
    statuses: [
      'fenced',
      'key_reused',
      'replayed',
      'not_found',
      'too_much',
      'backlog',
      'stock_in_use',
      'adjusted',
    ],
  },
  'load-product': {
    keys: ['epoch', 'products'],
    args: ['epoch', 'product', 'total', 'held', 'pending', 'sold', 'version', 'terms...'],
    statuses: ['fenced', 'unknown', 'outdated', 'recount', 'updated', 'loaded'],
  },
  'bury-entry': {
    keys: ['epoch', 'journal', 'dead'],
    args: ['epoch', 'entry_id', 'reason'],
    statuses: ['fenced', 'unknown_entry', 'buried'],
  },
  'drop-entries': {
    keys: ['epoch', 'journal', 'commits'],
    args: ['epoch', 'writer', 'commits', 'entry_ids...'],
    statuses: ['fenced', 'dropped'],
  },
  'raise-epoch': {
    keys: ['epoch'],
    args: ['epoch'],
    statuses: ['fenced', 'raised'],
  },
  'clear-shard': {
    keys: ['epoch', 'products', 'deadlines', 'buyers', 'parked', 'extended', 'bought', 'products_before'],
    args: ['epoch'],
    statuses: ['fenced', 'cleared'],
  },
  forget: {
    keys: ['epoch', 'order...', 'parked_payments...', 'idem...'],
    args: ['epoch', 'in_ms'],
    statuses: ['fenced', 'forgotten'],
  },
  'drop-holds': {
    keys: ['epoch', 'holds', 'prepaid', 'released...'],
    args: ['epoch', 'drops...'],
    statuses: ['fenced', 'dropped'],
  },
  'load-holds': {
    keys: ['epoch', 'holds', 'extended', 'prepaid'],
    args: ['epoch', 'loads...'],
    statuses: ['fenced', 'loaded'],
  },
  'load-buyers': {
    keys: ['epoch', 'buyers'],
    args: ['epoch', 'buyers...'],
    statuses: ['fenced', 'loaded'],
  },
  'load-bought': {
    keys: ['epoch', 'bought'],
    args: ['epoch', 'bought...'],
    statuses: ['fenced', 'loaded'],
  },
  'load-order': {
    keys: ['epoch', 'deadlines', 'order'],
    args: ['epoch', 'id', 'fields...'],
    statuses: ['fenced', 'known', 'loaded'],
  },
  'load-parked': {
    keys: ['epoch', 'parked', 'parked_payments'],
    args: ['epoch', 'id', 'key', 'payment', 'deadline_ms'],
    statuses: ['fenced', 'loaded'],
  },
  'load-results': {
    keys: ['epoch', 'idem...'],
    args: ['epoch', 'results...'],
    statuses: ['fenced', 'loaded'],
  },
  'read-due': {
    keys: ['epoch', 'prepaid', 'deadlines', 'parked'],
    args: ['epoch', 'set', 'limit'],
    statuses: ['fenced', 'done'],
  },
  'read-products': {
    keys: ['epoch', 'products'],
    args: ['epoch', 'product...'],
    statuses: ['fenced', 'done'],
  },
  'read-stock': {
    keys: ['epoch', 'products', 'holds', 'deadlines'],
    args: ['epoch', 'default_ttl_ms', 'product...'],
    statuses: ['fenced', 'done'],
  },
} as const satisfies {
  [Name in ScriptName]: {
    keys: readonly string[]
    args: readonly string[]
    statuses: ReadonlyArray<Replies[Name][0]>
  }
}
