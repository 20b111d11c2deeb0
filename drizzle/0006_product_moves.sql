CREATE TABLE "product_moves" (
	"move" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "product_moves_move_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"product_id" bigint NOT NULL,
	"from_shard" integer NOT NULL,
	"to_shard" integer NOT NULL,
	"moved_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "product_moves" ADD CONSTRAINT "product_moves_product_id_products_id_fk" FOREIGN KEY ("product_id") REFERENCES "public"."products"("id") ON DELETE no action ON UPDATE no action;