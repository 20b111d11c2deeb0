CREATE TABLE "installation" (
	"is_only" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"id" uuid DEFAULT gen_random_uuid() NOT NULL,
	CONSTRAINT "installation_is_only" CHECK ("installation"."is_only")
);
--> statement-breakpoint
CREATE TABLE "losses" (
	"loss" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "losses_loss_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"shard" integer NOT NULL,
	"what" text NOT NULL,
	"found_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "writers" (
	"writer" text PRIMARY KEY NOT NULL,
	"commits" bigint NOT NULL,
	"seen_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"epochs" bigint[] DEFAULT '{}' NOT NULL
);
--> statement-breakpoint
INSERT INTO "installation" DEFAULT VALUES;
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "history" text;--> statement-breakpoint
-- Earlier versions counted the transitions of an order and did not name them.
UPDATE "orders" SET "history" = (SELECT string_agg('0-' || n, ',' ORDER BY n) FROM generate_series(1, "version") AS n);--> statement-breakpoint
ALTER TABLE "orders" ALTER COLUMN "history" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "payments" ADD COLUMN "seq" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "shards" ADD COLUMN "behind_since" timestamp (3) with time zone;