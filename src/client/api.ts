// Written by npm run client:generate from the OpenAPI document; changes made here are lost.
export interface paths {
    "/api/products": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** List products by id */
        get: {
            parameters: {
                query?: {
                    /** @description Rows of a page */
                    limit?: number;
                    /** @description next_cursor of the page before */
                    cursor?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description Product id */
                                id: number;
                                name: string;
                                /** @description Price of a unit in minor units */
                                unit_amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /** @description stock.available */
                                available_stock: number;
                                /** @description available + held + pending + sold = total */
                                stock: {
                                    /** @description All units */
                                    total: number;
                                    /** @description Free to hold */
                                    available: number;
                                    /** @description Under live holds */
                                    held: number;
                                    /** @description In unpaid orders */
                                    pending: number;
                                    /** @description Paid */
                                    sold: number;
                                };
                                /**
                                 * @description all_held: nothing is free, but held or pending units may come back
                                 * @enum {string}
                                 */
                                state: "available" | "all_held" | "sold_out" | "not_started" | "ended" | "paused";
                                /** @description When the sale starts */
                                starts_at: string | null;
                                /** @description When the sale ends */
                                ends_at: string | null;
                                /** @description How long a hold lives */
                                hold_ttl_seconds: number;
                                /** @description Units of one hold at most */
                                max_per_hold: number | null;
                                /** @description Units of one customer at most */
                                max_per_customer: number | null;
                            }[];
                            meta: {
                                /** @description Where the next page starts */
                                next_cursor: string | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        /** Create a product */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": {
                        /** @description What buyers see */
                        name: string;
                        /** @description Price of a unit in minor units */
                        unit_amount: number;
                        /** @description ISO 4217 */
                        currency: string;
                        /** @description Units on sale */
                        total_stock: number;
                        /** @description When the sale starts */
                        starts_at?: string | null;
                        /** @description When the sale ends */
                        ends_at?: string | null;
                        /** @description How long a hold lives */
                        hold_ttl_seconds?: number | null;
                        /** @description Units of one hold at most */
                        max_per_hold?: number | null;
                        /** @description Units of one customer at most */
                        max_per_customer?: number | null;
                        /** @description Products of one shelf can be held together, in one cart; it can not be changed */
                        shelf?: string;
                    };
                };
            };
            responses: {
                /** @description Default Response */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description Product id */
                                id: number;
                                name: string;
                                /** @description Price of a unit in minor units */
                                unit_amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /** @description stock.available */
                                available_stock: number;
                                /** @description available + held + pending + sold = total */
                                stock: {
                                    /** @description All units */
                                    total: number;
                                    /** @description Free to hold */
                                    available: number;
                                    /** @description Under live holds */
                                    held: number;
                                    /** @description In unpaid orders */
                                    pending: number;
                                    /** @description Paid */
                                    sold: number;
                                };
                                /**
                                 * @description all_held: nothing is free, but held or pending units may come back
                                 * @enum {string}
                                 */
                                state: "available" | "all_held" | "sold_out" | "not_started" | "ended" | "paused";
                                /** @description When the sale starts */
                                starts_at: string | null;
                                /** @description When the sale ends */
                                ends_at: string | null;
                                /** @description How long a hold lives */
                                hold_ttl_seconds: number;
                                /** @description Units of one hold at most */
                                max_per_hold: number | null;
                                /** @description Units of one customer at most */
                                max_per_customer: number | null;
                                /** @description Where the product has one */
                                shelf?: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/products/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read a product with its stock */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Product id */
                    id: number;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description Product id */
                                id: number;
                                name: string;
                                /** @description Price of a unit in minor units */
                                unit_amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /** @description stock.available */
                                available_stock: number;
                                /** @description available + held + pending + sold = total */
                                stock: {
                                    /** @description All units */
                                    total: number;
                                    /** @description Free to hold */
                                    available: number;
                                    /** @description Under live holds */
                                    held: number;
                                    /** @description In unpaid orders */
                                    pending: number;
                                    /** @description Paid */
                                    sold: number;
                                };
                                /**
                                 * @description all_held: nothing is free, but held or pending units may come back
                                 * @enum {string}
                                 */
                                state: "available" | "all_held" | "sold_out" | "not_started" | "ended" | "paused";
                                /** @description When the sale starts */
                                starts_at: string | null;
                                /** @description When the sale ends */
                                ends_at: string | null;
                                /** @description How long a hold lives */
                                hold_ttl_seconds: number;
                                /** @description Units of one hold at most */
                                max_per_hold: number | null;
                                /** @description Units of one customer at most */
                                max_per_customer: number | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change the terms of a product, or pause its sale
         * @description Holds keep the price, the currency and the TTL that they were placed with. `max_per_customer`, where the product had none and units are in use, rebuilds the shard, which refuses holds for a moment.
         */
        patch: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Product id */
                    id: number;
                };
                cookie?: never;
            };
            /** @description What is not named stays as it is; null takes a term away */
            requestBody: {
                content: {
                    "application/json": {
                        /** @description What buyers see */
                        name?: string;
                        /** @description Price of a unit in minor units */
                        unit_amount?: number;
                        /** @description ISO 4217 */
                        currency?: string;
                        /** @description When the sale starts */
                        starts_at?: string | null;
                        /** @description When the sale ends */
                        ends_at?: string | null;
                        /** @description How long a hold lives */
                        hold_ttl_seconds?: number | null;
                        /** @description Units of one hold at most */
                        max_per_hold?: number | null;
                        /** @description Units of one customer at most */
                        max_per_customer?: number | null;
                        /** @description Whether new holds are refused for now */
                        paused?: boolean;
                    };
                };
            };
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description Product id */
                                id: number;
                                name: string;
                                /** @description Price of a unit in minor units */
                                unit_amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /** @description stock.available */
                                available_stock: number;
                                /** @description available + held + pending + sold = total */
                                stock: {
                                    /** @description All units */
                                    total: number;
                                    /** @description Free to hold */
                                    available: number;
                                    /** @description Under live holds */
                                    held: number;
                                    /** @description In unpaid orders */
                                    pending: number;
                                    /** @description Paid */
                                    sold: number;
                                };
                                /**
                                 * @description all_held: nothing is free, but held or pending units may come back
                                 * @enum {string}
                                 */
                                state: "available" | "all_held" | "sold_out" | "not_started" | "ended" | "paused";
                                /** @description When the sale starts */
                                starts_at: string | null;
                                /** @description When the sale ends */
                                ends_at: string | null;
                                /** @description How long a hold lives */
                                hold_ttl_seconds: number;
                                /** @description Units of one hold at most */
                                max_per_hold: number | null;
                                /** @description Units of one customer at most */
                                max_per_customer: number | null;
                                /** @description Where the product has one */
                                shelf?: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        trace?: never;
    };
    "/api/products/{id}/stock": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read the stock of a product */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Product id */
                    id: number;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description All units */
                                total: number;
                                /** @description Free to hold */
                                available: number;
                                /** @description Under live holds */
                                held: number;
                                /** @description In unpaid orders */
                                pending: number;
                                /** @description Paid */
                                sold: number;
                                /**
                                 * @description all_held: nothing is free, but held or pending units may come back
                                 * @enum {string}
                                 */
                                state: "available" | "all_held" | "sold_out" | "not_started" | "ended" | "paused";
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        /**
         * Add units to a product, or take free ones out of its sale
         * @description Units that are held, in orders or sold are never taken out.
         */
        post: {
            parameters: {
                query?: never;
                header: {
                    /** @description The same key for the same product has one effect, for ever */
                    "idempotency-key": string;
                };
                path: {
                    /** @description Product id */
                    id: number;
                };
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": {
                        /** @description Units to add or, negative, free ones to take out; not 0 */
                        delta: number;
                        /** @description For your records */
                        reason?: string;
                    };
                };
            };
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description Product id */
                                id: number;
                                name: string;
                                /** @description Price of a unit in minor units */
                                unit_amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /** @description stock.available */
                                available_stock: number;
                                /** @description available + held + pending + sold = total */
                                stock: {
                                    /** @description All units */
                                    total: number;
                                    /** @description Free to hold */
                                    available: number;
                                    /** @description Under live holds */
                                    held: number;
                                    /** @description In unpaid orders */
                                    pending: number;
                                    /** @description Paid */
                                    sold: number;
                                };
                                /**
                                 * @description all_held: nothing is free, but held or pending units may come back
                                 * @enum {string}
                                 */
                                state: "available" | "all_held" | "sold_out" | "not_started" | "ended" | "paused";
                                /** @description When the sale starts */
                                starts_at: string | null;
                                /** @description When the sale ends */
                                ends_at: string | null;
                                /** @description How long a hold lives */
                                hold_ttl_seconds: number;
                                /** @description Units of one hold at most */
                                max_per_hold: number | null;
                                /** @description Units of one customer at most */
                                max_per_customer: number | null;
                                /** @description Where the product has one */
                                shelf?: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                422: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/products/{id}/stock/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow the stock of a product as server-sent events
         * @description Event `stock`, data as of /stock: one at once, then one within 250 ms of a change, four a second at most. Who reads too slowly misses events, never the latest.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Product id */
                    id: number;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Events, until the reader goes */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": string;
                    };
                };
                400: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stock/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Follow the stock of several products over one connection
         * @description Event `stock`, as for one product, with `product_id` and, while all is held, `next_chance_at`: when units may come back.
         */
        get: {
            parameters: {
                query: {
                    /** @description Product ids, at most 100, with commas between them */
                    product_ids: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Events, until the reader goes */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/event-stream": string;
                    };
                };
                400: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/holds": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List live holds, soonest expiry first
         * @description Holds that are paid for are among them, though they do not expire. With `?product_id=` a page may be short, or empty, and still not the last: that one has no `next_cursor`. A hold that is extended moves back in this order.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Rows of a page */
                    limit?: number;
                    /** @description next_cursor of the page before */
                    cursor?: string;
                    /** @description Only those that have units of this product */
                    product_id?: number;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                hold_id: string;
                                /** @description The id that the order made from this hold will have */
                                order_id: string;
                                /**
                                 * @description ordered: the hold is an order
                                 * @enum {string}
                                 */
                                status: "active" | "ordered";
                                /** @description Of a hold on one product */
                                product_id: number | null;
                                /** @description Of a hold on one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                customer_id: string | null;
                                /** @description When it was placed */
                                created_at: string;
                                /** @description From this millisecond on it is dead */
                                expires_at: string;
                            }[];
                            meta: {
                                /** @description Where the next page starts */
                                next_cursor: string | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        /** Place a hold */
        post: {
            parameters: {
                query?: never;
                header?: {
                    /** @description The same key with the same body has one effect and one answer, for 24 hours */
                    "idempotency-key"?: string;
                };
                path?: never;
                cookie?: never;
            };
            /** @description Either product_id and qty, or items: all of them or none */
            requestBody: {
                content: {
                    "application/json": {
                        /** @description Product id */
                        product_id?: number;
                        /** @description Units */
                        qty?: number;
                        items?: {
                            /** @description Product id */
                            product_id: number;
                            /** @description Units */
                            qty: number;
                        }[];
                        /** @description Who holds; needed where the product has max_per_customer */
                        customer_id?: string;
                    };
                };
            };
            responses: {
                /** @description Default Response */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                hold_id: string;
                                /** @description The id that the order made from this hold will have */
                                order_id: string;
                                /**
                                 * @description ordered: the hold is an order
                                 * @enum {string}
                                 */
                                status: "active" | "ordered";
                                /** @description Of a hold on one product */
                                product_id: number | null;
                                /** @description Of a hold on one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                customer_id: string | null;
                                /** @description When it was placed */
                                created_at: string;
                                /** @description From this millisecond on it is dead */
                                expires_at: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                422: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/holds/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read a hold */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description hold_id */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                hold_id: string;
                                /** @description The id that the order made from this hold will have */
                                order_id: string;
                                /**
                                 * @description ordered: the hold is an order
                                 * @enum {string}
                                 */
                                status: "active" | "ordered";
                                /** @description Of a hold on one product */
                                product_id: number | null;
                                /** @description Of a hold on one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                customer_id: string | null;
                                /** @description When it was placed */
                                created_at: string;
                                /** @description From this millisecond on it is dead */
                                expires_at: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                410: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        /** Release a hold; its units are free at once */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description hold_id */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                204: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content?: never;
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                410: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/holds/{id}/extend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let a hold end one full TTL from now, at most three TTLs after it was placed */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description hold_id */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                hold_id: string;
                                /** @description The id that the order made from this hold will have */
                                order_id: string;
                                /**
                                 * @description ordered: the hold is an order
                                 * @enum {string}
                                 */
                                status: "active" | "ordered";
                                /** @description Of a hold on one product */
                                product_id: number | null;
                                /** @description Of a hold on one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                customer_id: string | null;
                                /** @description When it was placed */
                                created_at: string;
                                /** @description From this millisecond on it is dead */
                                expires_at: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                410: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/orders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List orders, newest first
         * @description As PostgreSQL has them: what was answered 2xx. A customer sees own orders only.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Rows of a page */
                    limit?: number;
                    /** @description next_cursor of the page before */
                    cursor?: string;
                    /** @description Only those with this payment_status */
                    payment_status?: "pending" | "paid" | "failed";
                    /** @description Only those with this order_status */
                    order_status?: "pre-payment" | "confirmed" | "cancelled";
                    /** @description Only those that have units of this product */
                    product_id?: number;
                    /** @description Only those of this customer */
                    customer_id?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                order_id: string;
                                hold_id: string;
                                /** @description Of an order of one product */
                                product_id: number | null;
                                /** @description Of an order of one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /**
                                 * @description What became of the payment
                                 * @enum {string}
                                 */
                                payment_status: "pending" | "paid" | "failed";
                                /**
                                 * @description What became of the order
                                 * @enum {string}
                                 */
                                order_status: "pre-payment" | "confirmed" | "cancelled";
                                /**
                                 * @description Why it was cancelled
                                 * @enum {string|null}
                                 */
                                cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                customer_id: string | null;
                                /** @description When it was created */
                                created_at: string;
                                /** @description Unpaid at this moment it is cancelled */
                                pay_by: string;
                            }[];
                            meta: {
                                /** @description Where the next page starts */
                                next_cursor: string | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        /** Make the order of a hold, once */
        post: {
            parameters: {
                query?: never;
                header?: {
                    /** @description The same key with the same body has one effect and one answer, for 24 hours */
                    "idempotency-key"?: string;
                };
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": {
                        /** @description A live hold */
                        hold_id: string;
                    };
                };
            };
            responses: {
                /** @description Default Response */
                201: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                order_id: string;
                                hold_id: string;
                                /** @description Of an order of one product */
                                product_id: number | null;
                                /** @description Of an order of one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /**
                                 * @description What became of the payment
                                 * @enum {string}
                                 */
                                payment_status: "pending" | "paid" | "failed";
                                /**
                                 * @description What became of the order
                                 * @enum {string}
                                 */
                                order_status: "pre-payment" | "confirmed" | "cancelled";
                                /**
                                 * @description Why it was cancelled
                                 * @enum {string|null}
                                 */
                                cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                customer_id: string | null;
                                /** @description When it was created */
                                created_at: string;
                                /** @description Unpaid at this moment it is cancelled */
                                pay_by: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                410: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                422: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/orders/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Read an order */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description order_id */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                order_id: string;
                                hold_id: string;
                                /** @description Of an order of one product */
                                product_id: number | null;
                                /** @description Of an order of one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /**
                                 * @description What became of the payment
                                 * @enum {string}
                                 */
                                payment_status: "pending" | "paid" | "failed";
                                /**
                                 * @description What became of the order
                                 * @enum {string}
                                 */
                                order_status: "pre-payment" | "confirmed" | "cancelled";
                                /**
                                 * @description Why it was cancelled
                                 * @enum {string|null}
                                 */
                                cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                customer_id: string | null;
                                /** @description When it was created */
                                created_at: string;
                                /** @description Unpaid at this moment it is cancelled */
                                pay_by: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        /** Cancel an unpaid order; its units are free at once */
        delete: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description order_id */
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                order_id: string;
                                hold_id: string;
                                /** @description Of an order of one product */
                                product_id: number | null;
                                /** @description Of an order of one product */
                                qty: number | null;
                                items: {
                                    /** @description Product id */
                                    product_id: number;
                                    /** @description Units */
                                    qty: number;
                                    /** @description Price of a unit in minor units, locked for the life of the hold */
                                    unit_amount: number;
                                }[];
                                /** @description Sum in minor units */
                                amount: number;
                                /** @description ISO 4217 */
                                currency: string;
                                /**
                                 * @description What became of the payment
                                 * @enum {string}
                                 */
                                payment_status: "pending" | "paid" | "failed";
                                /**
                                 * @description What became of the order
                                 * @enum {string}
                                 */
                                order_status: "pre-payment" | "confirmed" | "cancelled";
                                /**
                                 * @description Why it was cancelled
                                 * @enum {string|null}
                                 */
                                cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                customer_id: string | null;
                                /** @description When it was created */
                                created_at: string;
                                /** @description Unpaid at this moment it is cancelled */
                                pay_by: string;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/payments/webhook": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Announce a payment, signed as Standard Webhooks say */
        post: {
            parameters: {
                query?: never;
                header?: {
                    /** @description The key, only where no secret is configured: no signature covers this header */
                    "idempotency-key"?: string;
                };
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": {
                        /** @description Under one key a payment has one effect; without it the signed webhook-id is the key */
                        idempotency_key?: string;
                        /** @description As the hold named it */
                        order_id: string;
                        /**
                         * @description failure means failed
                         * @enum {string}
                         */
                        status: "success" | "failed" | "failure";
                        /** @description Minor units; must be that of the order */
                        amount?: number;
                        /** @description ISO 4217 */
                        currency?: string;
                        /** @description For your records */
                        payment_method?: string;
                        /** @description For your records */
                        transaction_id?: string;
                    };
                };
            };
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /**
                                 * @description What the payment did
                                 * @enum {string}
                                 */
                                outcome: "parked" | "applied" | "ignored" | "refund_due" | "duplicate";
                                /**
                                 * @description Of a duplicate: what was answered first
                                 * @enum {string}
                                 */
                                first_outcome?: "parked" | "applied" | "ignored" | "refund_due";
                                /**
                                 * @description Why money is due back
                                 * @enum {string|null}
                                 */
                                reason?: "amount_mismatch" | "already_paid" | "order_cancelled" | "no_units_left" | "hold_released" | "order_never_came" | null;
                                order: {
                                    order_id: string;
                                    hold_id: string;
                                    /** @description Of an order of one product */
                                    product_id: number | null;
                                    /** @description Of an order of one product */
                                    qty: number | null;
                                    items: {
                                        /** @description Product id */
                                        product_id: number;
                                        /** @description Units */
                                        qty: number;
                                        /** @description Price of a unit in minor units, locked for the life of the hold */
                                        unit_amount: number;
                                    }[];
                                    /** @description Sum in minor units */
                                    amount: number;
                                    /** @description ISO 4217 */
                                    currency: string;
                                    /**
                                     * @description What became of the payment
                                     * @enum {string}
                                     */
                                    payment_status: "pending" | "paid" | "failed";
                                    /**
                                     * @description What became of the order
                                     * @enum {string}
                                     */
                                    order_status: "pre-payment" | "confirmed" | "cancelled";
                                    /**
                                     * @description Why it was cancelled
                                     * @enum {string|null}
                                     */
                                    cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                    customer_id: string | null;
                                    /** @description When it was created */
                                    created_at: string;
                                    /** @description Unpaid at this moment it is cancelled */
                                    pay_by: string;
                                } | null;
                            };
                        };
                    };
                };
                /** @description Default Response */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /**
                                 * @description What the payment did
                                 * @enum {string}
                                 */
                                outcome: "parked" | "applied" | "ignored" | "refund_due" | "duplicate";
                                /**
                                 * @description Of a duplicate: what was answered first
                                 * @enum {string}
                                 */
                                first_outcome?: "parked" | "applied" | "ignored" | "refund_due";
                                /**
                                 * @description Why money is due back
                                 * @enum {string|null}
                                 */
                                reason?: "amount_mismatch" | "already_paid" | "order_cancelled" | "no_units_left" | "hold_released" | "order_never_came" | null;
                                order: {
                                    order_id: string;
                                    hold_id: string;
                                    /** @description Of an order of one product */
                                    product_id: number | null;
                                    /** @description Of an order of one product */
                                    qty: number | null;
                                    items: {
                                        /** @description Product id */
                                        product_id: number;
                                        /** @description Units */
                                        qty: number;
                                        /** @description Price of a unit in minor units, locked for the life of the hold */
                                        unit_amount: number;
                                    }[];
                                    /** @description Sum in minor units */
                                    amount: number;
                                    /** @description ISO 4217 */
                                    currency: string;
                                    /**
                                     * @description What became of the payment
                                     * @enum {string}
                                     */
                                    payment_status: "pending" | "paid" | "failed";
                                    /**
                                     * @description What became of the order
                                     * @enum {string}
                                     */
                                    order_status: "pre-payment" | "confirmed" | "cancelled";
                                    /**
                                     * @description Why it was cancelled
                                     * @enum {string|null}
                                     */
                                    cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                    customer_id: string | null;
                                    /** @description When it was created */
                                    created_at: string;
                                    /** @description Unpaid at this moment it is cancelled */
                                    pay_by: string;
                                } | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                422: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/payments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List payments, newest first
         * @description With `?outcome=refund_due&refunded=false`: the money that has to go back.
         */
        get: {
            parameters: {
                query?: {
                    /** @description Rows of a page */
                    limit?: number;
                    /** @description next_cursor of the page before */
                    cursor?: string;
                    /** @description Only those with this outcome */
                    outcome?: "parked" | "applied" | "ignored" | "refund_due";
                    /** @description Only those of this order */
                    order_id?: string;
                    /** @description Only those that have been paid back, or have not */
                    refunded?: boolean;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                idempotency_key: string;
                                order_id: string;
                                /**
                                 * @description As it stands after a parked payment was settled
                                 * @enum {string}
                                 */
                                outcome: "parked" | "applied" | "ignored" | "refund_due";
                                /**
                                 * @description What the sender announced
                                 * @enum {string}
                                 */
                                status: "success" | "failed";
                                /**
                                 * @description Why money is due back
                                 * @enum {string|null}
                                 */
                                reason: "amount_mismatch" | "already_paid" | "order_cancelled" | "no_units_left" | "hold_released" | "order_never_came" | null;
                                /** @description Minor units */
                                amount: number | null;
                                /** @description ISO 4217 */
                                currency: string | null;
                                transaction_id: string | null;
                                /** @description When it came first */
                                created_at: string;
                                /** @description When somebody said that the money went back */
                                refunded_at: string | null;
                            }[];
                            meta: {
                                /** @description Where the next page starts */
                                next_cursor: string | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/payments/{idempotency_key}/refunded": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say that a payment that was due for refund has been paid back */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    /** @description Of the payment */
                    idempotency_key: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                idempotency_key: string;
                                order_id: string;
                                /**
                                 * @description As it stands after a parked payment was settled
                                 * @enum {string}
                                 */
                                outcome: "parked" | "applied" | "ignored" | "refund_due";
                                /**
                                 * @description What the sender announced
                                 * @enum {string}
                                 */
                                status: "success" | "failed";
                                /**
                                 * @description Why money is due back
                                 * @enum {string|null}
                                 */
                                reason: "amount_mismatch" | "already_paid" | "order_cancelled" | "no_units_left" | "hold_released" | "order_never_came" | null;
                                /** @description Minor units */
                                amount: number | null;
                                /** @description ISO 4217 */
                                currency: string | null;
                                transaction_id: string | null;
                                /** @description When it came first */
                                created_at: string;
                                /** @description When somebody said that the money went back */
                                refunded_at: string | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                404: components["responses"]["Problem"];
                409: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/payments/webhook/stripe": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Receive an event of Stripe
         * @description Events that do not end the payment of an order of this service (`metadata.order_id`) are answered 200 and ignored.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /**
                                 * @description What the payment did
                                 * @enum {string}
                                 */
                                outcome: "parked" | "applied" | "ignored" | "refund_due" | "duplicate";
                                /**
                                 * @description Of a duplicate: what was answered first
                                 * @enum {string}
                                 */
                                first_outcome?: "parked" | "applied" | "ignored" | "refund_due";
                                /**
                                 * @description Why money is due back
                                 * @enum {string|null}
                                 */
                                reason?: "amount_mismatch" | "already_paid" | "order_cancelled" | "no_units_left" | "hold_released" | "order_never_came" | null;
                                order: {
                                    order_id: string;
                                    hold_id: string;
                                    /** @description Of an order of one product */
                                    product_id: number | null;
                                    /** @description Of an order of one product */
                                    qty: number | null;
                                    items: {
                                        /** @description Product id */
                                        product_id: number;
                                        /** @description Units */
                                        qty: number;
                                        /** @description Price of a unit in minor units, locked for the life of the hold */
                                        unit_amount: number;
                                    }[];
                                    /** @description Sum in minor units */
                                    amount: number;
                                    /** @description ISO 4217 */
                                    currency: string;
                                    /**
                                     * @description What became of the payment
                                     * @enum {string}
                                     */
                                    payment_status: "pending" | "paid" | "failed";
                                    /**
                                     * @description What became of the order
                                     * @enum {string}
                                     */
                                    order_status: "pre-payment" | "confirmed" | "cancelled";
                                    /**
                                     * @description Why it was cancelled
                                     * @enum {string|null}
                                     */
                                    cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                    customer_id: string | null;
                                    /** @description When it was created */
                                    created_at: string;
                                    /** @description Unpaid at this moment it is cancelled */
                                    pay_by: string;
                                } | null;
                            };
                        };
                    };
                };
                /** @description Default Response */
                202: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /**
                                 * @description What the payment did
                                 * @enum {string}
                                 */
                                outcome: "parked" | "applied" | "ignored" | "refund_due" | "duplicate";
                                /**
                                 * @description Of a duplicate: what was answered first
                                 * @enum {string}
                                 */
                                first_outcome?: "parked" | "applied" | "ignored" | "refund_due";
                                /**
                                 * @description Why money is due back
                                 * @enum {string|null}
                                 */
                                reason?: "amount_mismatch" | "already_paid" | "order_cancelled" | "no_units_left" | "hold_released" | "order_never_came" | null;
                                order: {
                                    order_id: string;
                                    hold_id: string;
                                    /** @description Of an order of one product */
                                    product_id: number | null;
                                    /** @description Of an order of one product */
                                    qty: number | null;
                                    items: {
                                        /** @description Product id */
                                        product_id: number;
                                        /** @description Units */
                                        qty: number;
                                        /** @description Price of a unit in minor units, locked for the life of the hold */
                                        unit_amount: number;
                                    }[];
                                    /** @description Sum in minor units */
                                    amount: number;
                                    /** @description ISO 4217 */
                                    currency: string;
                                    /**
                                     * @description What became of the payment
                                     * @enum {string}
                                     */
                                    payment_status: "pending" | "paid" | "failed";
                                    /**
                                     * @description What became of the order
                                     * @enum {string}
                                     */
                                    order_status: "pre-payment" | "confirmed" | "cancelled";
                                    /**
                                     * @description Why it was cancelled
                                     * @enum {string|null}
                                     */
                                    cancel_reason: "payment_failed" | "payment_timeout" | "requested" | null;
                                    customer_id: string | null;
                                    /** @description When it was created */
                                    created_at: string;
                                    /** @description Unpaid at this moment it is cancelled */
                                    pay_by: string;
                                } | null;
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                422: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the process lives */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @enum {string} */
                                status: "ok";
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Numbers for Prometheus */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description In the text format of Prometheus */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "text/plain": string;
                    };
                };
                400: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether Redis, PostgreSQL and the fence are fine
         * @description `degraded`: some shards of a cluster are closed, which `checks` names, and the others are sold as ever.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                status: "ready" | "degraded";
                                checks: {
                                    redis: string;
                                    postgresql: string;
                                    fence: string;
                                };
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/desk": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The numbers of the live page: now, and the last ten minutes
         * @description For people; programs read /metrics.
         */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description When the numbers were taken; null while they can not be */
                                taken_at: string | null;
                                /** @description Payments that are due for refund */
                                refunds_open: number | null;
                                /** @description Entries that PostgreSQL may not have yet */
                                journal_entries: number | null;
                                /** @description Age of the oldest of them */
                                journal_age_seconds: number | null;
                                fence: {
                                    /** @description Shard */
                                    shard: number;
                                    is_open: boolean;
                                }[];
                                /** @description Processes that serve the API, where there are several */
                                workers: number | null;
                                /** @description The last ten minutes, oldest first */
                                series: {
                                    at: string[];
                                    /** @description Holds granted a second; null where nothing is known */
                                    holds_granted: (number | null)[];
                                    /** @description Holds refused a second; null where nothing is known */
                                    holds_refused: (number | null)[];
                                    /** @description Orders created a second; null where nothing is known */
                                    orders_created: (number | null)[];
                                    /** @description Holds and orders expired a second; null where nothing is known */
                                    expired: (number | null)[];
                                    /** @description Half of the requests for holds were answered within; null where nothing is known */
                                    p50_ms: (number | null)[];
                                    /** @description 99 of 100 requests for holds were answered within; null where nothing is known */
                                    p99_ms: (number | null)[];
                                };
                            };
                        };
                    };
                };
                400: components["responses"]["Problem"];
                401: components["responses"]["Problem"];
                403: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/simulator/payments": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Play a payment gateway, in development only
         * @description Signs webhooks and sends them to /api/payments/webhook, one after the other. There is no such route with `NODE_ENV=production`, nor on an address that others can reach.
         */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": {
                        /** @description As the hold named it */
                        order_id: string;
                        /**
                         * @description What the gateway sends
                         * @enum {string}
                         */
                        scenario: "success" | "failure" | "duplicate" | "out-of-order";
                    };
                };
            };
            responses: {
                /** @description Default Response */
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": {
                            data: {
                                /** @description What was sent */
                                label: string;
                                /** @description With which the webhook was answered */
                                status: number;
                                /** @description Its body */
                                answer: unknown;
                            }[];
                        };
                    };
                };
                400: components["responses"]["Problem"];
                413: components["responses"]["Problem"];
                415: components["responses"]["Problem"];
                429: components["responses"]["Problem"];
                503: components["responses"]["Problem"];
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: never;
    responses: {
        /** @description A problem */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": {
                    type: string;
                    title: string;
                    status: number;
                    detail: string;
                    /** @description Stable, for programs */
                    code: string;
                } & {
                    [key: string]: unknown;
                };
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
