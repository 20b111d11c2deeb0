import perf_hooks from 'node:perf_hooks'

/*
  To be imported before whatever asks how late the loop of events is: here it never is. What passes is not the time of this machine, and a
  look at it would shed load in one run that it does not in the next.
*/

const steady = { enable() {}, disable() {}, reset() {}, mean: 0, min: 0, max: 0 }
Object.assign(perf_hooks, { monitorEventLoopDelay: () => steady })
