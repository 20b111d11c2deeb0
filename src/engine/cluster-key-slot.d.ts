declare module 'cluster-key-slot' {
  /** The slot of Redis Cluster in which a key lies. */
  function slotOf(key: string): number
  export = slotOf
}
