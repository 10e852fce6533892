/** Labels and annotations by which pods ask for the sidecar and people ask for deeds; pools write what the injector reads. */

/** Label of a pod: `"true"` asks for the sidecar, `"false"` opts out of its namespace's injection. */
export const LABEL_INJECT = 'glmquota.io/inject';
/** Label of a pool's pods: `poolLabel` of its name. */
export const LABEL_POOL = 'glmquota.io/pool';
/** Annotation of a pod or namespace: `[namespace/]name` of the GLMQuota. */
export const ANNOTATION_QUOTA = 'glmquota.io/quota';
/** Annotation of a pod: calls it may have in flight at once. */
export const ANNOTATION_CONCURRENCY = 'glmquota.io/concurrency';
/**
 * Annotation of a GLMAccount or GLMQuota: `<limit>@<RFC 3339 time>`. Ends the running window of its own limit of that
 * name; each value is acted on once.
 */
export const ANNOTATION_RESET = 'glmquota.io/reset-window';
/**
 * Annotation of a GLMAccount: RFC 3339 time until which the slot of its tree may move between the masters of the Redis
 * Cluster; each value is acted on once.
 */
export const ANNOTATION_MOVE = 'glmquota.io/planned-move';
/**
 * Annotation of a GLMAccount: each new value, usually the time, gives its sidecars another password at Redis. Also written
 * by the operator, when the configuration in Redis was not the one it had written.
 */
export const ANNOTATION_ROTATE = 'glmquota.io/rotate-redis-user';
